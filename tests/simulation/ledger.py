"""Ledger: what happened, as the events that the checker reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask_clustertoken.authority import IssuedToken
from flask_clustertoken.cluster import Revocation
from flask_clustertoken.tokens import record_key

from .node import SimulatedNode

if TYPE_CHECKING:
    from .world import World

#: Seconds that a login lives.
LIFETIME = 3600


class Ledger:
    """What happened, in its order, and what was tried."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.history: list[dict[str, Any]] = []
        #: token id → (texts, the ``issued`` event)
        self.tokens: dict[str, tuple[list[str], dict[str, Any]]] = {}
        self.attempts: list[dict[str, Any]] = []
        self.appended_at: dict[int, float] = {}

    def tried(self, event: dict[str, Any]) -> None:
        self.attempts.append(event)
        self.history.append(event)

    def note(self, what: str, **facts: Any) -> None:
        self.history.append({"type": what} | facts)

    def issued(
        self,
        issued: IssuedToken,
        node: SimulatedNode,
        begin: float,
        since_read: float,
        labels: Sequence[str],
        *,
        asked: str | None = None,
    ) -> None:
        event = {
            "type": "issued",
            "token": issued.token.id,
            "subject": issued.token.subject,
            "labels": list(labels),
            "kind": issued.token.kind,
            "since_read": since_read,
            "begin": begin,
            "end": self.world.now,
            "node": node.instance,
            "asked": asked,
        }
        self.tokens[issued.token.id] = ([issued.text], event)
        self.history.append(event)

    def validated(
        self,
        node: SimulatedNode,
        instance: str,
        issued: dict[str, Any],
        begin: float,
        answer: Any,
    ) -> None:
        self.history.append(
            {
                "type": "validated",
                "node": instance,
                "token": issued["token"],
                "begin": begin,
                "end": self.world.now,
                "accepted": bool(answer),
                "reason": "" if answer else getattr(answer, "reason", "not renewed"),
                "from_view": not answer and answer.detail == "a revocation covers it",
                "max_staleness": node.settings.max_staleness,
                "accepts_when_stale": node.settings.when_stale == "accept",
            }
        )

    def revoked(
        self, what: str, target: str, kinds: Sequence[str], node: SimulatedNode
    ) -> dict[str, Any]:
        """The event of a revocation that begins now."""
        return {
            "type": "revoked",
            "rev": len(self.attempts),
            "what": what,
            "target": target,
            "kinds": list(kinds),
            "begin": self.world.now,
            "acknowledged": None,
            "ended": float("inf"),
            "remembered_for": LIFETIME,
            "node": node.instance,
            "seq": None,
        }

    def acknowledged(self, event: dict[str, Any], revocation: Revocation) -> None:
        event["seq"] = revocation.seq
        event["acknowledged"] = self.appended_at[revocation.seq]
        event["ended"] = self.world.now

    def look_for_records(self) -> None:
        """Note which revoked tokens still have a living record (there must be none)."""
        for event in self.attempts:
            if event["what"] != "id" or event["acknowledged"] is None:
                continue
            name = event["target"]
            record = self.world.shelf.records.get(record_key(name))
            if record is not None and record.alive(self.world.now):
                self.note("record", token=name, at=self.world.now)

    def maybe_covered(self, issued: dict[str, Any]) -> bool:
        for event in self.attempts:
            what, target = event["what"], event["target"]
            if what == "id" and target == issued["token"]:
                return True
            if what == "label" and target in issued["labels"]:
                return True
            if (
                what in ("subject", "realm")
                and target in ("", issued["subject"])
                and issued["kind"] in event["kinds"]
                and issued["begin"] <= event["ended"]
            ):
                return True
        return False
