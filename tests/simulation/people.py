"""People: they log in, use their tokens, make something of them, and end them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask_clustertoken.authority import IssuedToken
from flask_clustertoken.cluster import Revocation
from flask_clustertoken.errors import ClusterTokenError
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.stores.base import NewEntry
from flask_clustertoken.tokens import Token, digests

from .node import SimulatedNode

if TYPE_CHECKING:
    from .world import World

SUBJECTS = ("alice", "bob")
LABELS = ("sid-1", "sid-2", "sid-3")


class People:
    """What people do, each at a node of the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def ready(self, node: SimulatedNode) -> bool:
        return node.awake and not node.joining and node.join()

    def issue(self, node: SimulatedNode) -> None:
        if not self.ready(node):
            return
        rng, authority = self.world.rng, node.authority
        subject = rng.choice(SUBJECTS)
        labels = [label for label in LABELS if rng.random() < 0.3]
        kind = "api" if rng.random() < 0.15 else "login"
        begin = self.world.now
        try:
            if kind == "api":
                issued = authority.issue_api_token(subject, "ci")
                since_read = self.world.now
                labels = []
            else:
                since = authority.begin()
                since_read = self.world.now
                self.world.network.meanwhile()
                issued = authority.issue_login(subject, since=since, labels=labels)
        except ClusterTokenError:
            return
        self.world.ledger.issued(issued, node, begin, since_read, labels)

    def ask_often(self) -> None:
        """A login, and at once it is ended on one node and used on another to make something."""
        self.issue(self.world.rng.choice(self.world.nodes))
        self.ask(self.world.rng.choice(self.world.nodes))

    def lock_often(self) -> None:
        """A subject is locked out, or let in, and comes back at once, everywhere."""
        node, subject = self.world.rng.choice(self.world.nodes), self.world.rng.choice(SUBJECTS)
        if self.world.rng.random() < 0.6:
            self.lock(node, subject)
        else:
            self.unlock(node, subject)
        self.world.network.meanwhile()
        self.issue(self.world.rng.choice(self.world.nodes))
        for other in self.world.nodes:
            self.validate(other)

    def lock(self, node: SimulatedNode, subject: str) -> None:
        if not self.ready(node):
            return
        # It ends logins as a mark does, and it stands.
        event = self.world.ledger.revoked("subject", subject, ("login",), node) | {"lock": True}
        self.world.ledger.tried(event)
        try:
            receipt = node.authority.locking.lock(subject=subject)
        except ClusterTokenError:
            return
        self.world.ledger.acknowledged(event, receipt)
        self._confirm(node, event, receipt, (2.0, 15.0))

    def _confirm(
        self,
        node: SimulatedNode,
        event: dict[str, Any],
        revocation: Revocation,
        patience: tuple[float, ...],
    ) -> None:
        """Mostly somebody waits for it, for one of *patience* seconds."""
        if self.world.rng.random() < 0.6 and not node.stepping:
            node.stepping = True
            try:
                done = revocation.confirm(self.world.rng.choice(patience))
            except ClusterTokenError:
                return
            finally:
                node.stepping = False
            if done.in_force:
                self.world.ledger.note("confirmed", rev=event["rev"], at=self.world.now)

    def unlock(self, node: SimulatedNode, subject: str) -> None:
        if not self.ready(node):
            return
        # From here on nobody is promised to be kept out.
        self.world.ledger.note("unlocked", target=subject, begin=self.world.now)
        with contextlib.suppress(ClusterTokenError):
            node.authority.locking.unlock(subject=subject)

    def arrived(self, entry: NewEntry) -> None:
        """The store has *entry*. An unlock that comes long after its caller gave up counts then."""
        feed_entry = FeedEntry.decode(entry.body)
        if feed_entry.kind == "unlock":
            for subject in SUBJECTS:
                if digests("subject:login", [subject])[0] in feed_entry.digests:
                    self.world.ledger.note("unlocked", target=subject, begin=self.world.now)

    def ask(self, node: SimulatedNode) -> None:
        """A request whose body comes slowly makes something on the strength of its token."""
        picked = self.pick()
        if picked is None or picked[1]["kind"] == "api" or not self.ready(node):
            return
        texts, issued = picked
        asked = self.validate_one(node, self.world.rng.choice(texts), issued)
        if not asked:
            return
        for _ in range(self.world.rng.randrange(3)):
            self.revoke(self.world.rng.choice(self.world.nodes))
        self.world.network.meanwhile()
        begin = self.world.now
        what = self.world.rng.choice(("carry on", "log in again", "api token"))
        try:
            made, since_read = self._make(node, asked, what)
        except ClusterTokenError:
            return
        self.world.ledger.issued(made, node, begin, since_read, [], asked=issued["token"])

    def _make(self, node: SimulatedNode, asked: Token, what: str) -> tuple[IssuedToken, float]:
        authority = node.authority
        if what == "api token":
            return authority.issue_api_token(asked.subject, "ci", on=asked), self.world.now
        if what == "log in again":
            since = authority.begin()
            since_read = self.world.now
            self.world.network.meanwhile()
            # Whatever comes back, the token that asked may be ended by this.
            event = self.world.ledger.revoked("id", asked.id, ("login",), node)
            self.world.ledger.tried(event)
            made = authority.issue_login(asked.subject, since=since, replaces=asked, on=asked)
            return made, since_read
        event = self.world.ledger.revoked("subject", asked.subject, ("login",), node)
        self.world.ledger.tried(event)
        revocation = authority.revoke_subject(asked.subject, on=asked)
        self.world.ledger.acknowledged(event, revocation)
        since_read = self.world.now
        self.world.network.meanwhile()
        on = replace(asked, since=revocation.seq)
        made = authority.issue_login(asked.subject, since=revocation.seq, carries_on=asked, on=on)
        return made, since_read

    def pick(self) -> tuple[list[str], dict[str, Any]] | None:
        if not self.world.ledger.tokens:
            return None
        names = list(self.world.ledger.tokens)
        # Mostly the latest: there the races are.
        name = names[-1 - min(int(self.world.rng.expovariate(0.3)), len(names) - 1)]
        return self.world.ledger.tokens[name]

    def validate(self, node: SimulatedNode) -> None:
        picked = self.pick()
        if picked is None or not self.ready(node):
            return
        texts, issued = picked
        self.validate_one(node, self.world.rng.choice(texts), issued)

    def validate_one(self, node: SimulatedNode, text: str, issued: dict[str, Any]) -> Any:
        begin, instance = self.world.now, node.instance
        strict = self.world.rng.random() < 0.1
        answer = node.authority.authenticate(text, issued["kind"], strict=strict)
        self.world.ledger.validated(node, instance, issued, begin, answer)
        return answer

    def renew(self, node: SimulatedNode) -> None:
        picked = self.pick()
        if picked is None or not self.ready(node) or picked[1]["kind"] == "api":
            return
        texts, issued = picked
        text = self.world.rng.choice(texts)
        token = self.validate_one(node, text, issued)
        if not token:
            return
        self.world.network.meanwhile()
        try:
            renewed = node.authority.renew(text, token)
        except ClusterTokenError:
            return
        if renewed is not None:
            texts.append(renewed.text)

    def revoke(self, node: SimulatedNode) -> None:
        if not self.ready(node):
            return
        rng, authority = self.world.rng, node.authority
        what = rng.choice(("id", "id", "id", "label", "subject", "subject", "realm"))
        kinds = rng.choice((("login",), ("login",), ("login", "api")))
        picked = self.pick()
        if what == "id" and picked is None:
            return
        target = {
            "id": picked[1]["token"] if picked else "",
            "label": rng.choice(LABELS),
            "subject": rng.choice(SUBJECTS),
            "realm": "",
        }[what]
        event = self.world.ledger.revoked(what, target, kinds, node)
        self.world.ledger.tried(event)
        try:
            if what == "id":
                revocation = authority.revoke_ids([target])
            elif what == "label":
                revocation = authority.revoke_labels([target])
            elif what == "subject":
                revocation = authority.revoke_subject(target, kinds)
            else:
                revocation = authority.revoke_all(kinds)
        except ClusterTokenError:
            return
        self.world.ledger.acknowledged(event, revocation)
        self.world.ledger.look_for_records()
        self._confirm(node, event, revocation, (0.1, 2.0, 15.0))
