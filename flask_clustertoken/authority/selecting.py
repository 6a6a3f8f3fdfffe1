"""Selecting: which tokens are meant. What a list shows is what ends by "end these".

Recorded tokens lie by digest, so only a subject's own are found at once. Everything else is a walk
through all of them, in steps that each ask the store a few times: whoever wants the next one hands
in where the last one ended, and a step says how far the walk has come. What was ended meanwhile is
missing in the next step, and that is all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from ..cluster import NodeRuntime, Revocation
from ..errors import ClusterTokenError
from ..stores.base import PAGE, Record
from ..tokens import (
    Token,
    TokenKind,
    WrongArgument,
    digest,
    has_signs,
    record_key,
    records_of,
    signs_of,
)
from .listing import Listing
from .revoking import Revoking

#: What one step shows, ends and asks the store at most; and seconds after which it asks no more.
MOST = 50
AT_ONCE = 100
CALLS = 40
LATE = 1.0

BOTH: tuple[TokenKind, ...] = ("login", "api")

#: What one entry of the feed can end: all of a subject, all with a label, everything.
Mark = Literal["subject", "label", "everybody"]

_SHARDS = 16**3
_TOKENS = "token/"
_AFTER_TOKEN = re.compile(r"[0-9a-f]{3}/[0-9a-f]{40}", re.ASCII)
_AFTER_PERSON = re.compile(r"[0-9a-f]{3}(-[0-9a-f]{16})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenFilter:
    """Which recorded tokens are meant; whatever is left empty says nothing.

    *subject* is one exactly, *prefix* what subjects begin with. *ids* are those that were ticked
    in a list (:data:`AT_ONCE` at most): of them what the rest of the filter lets through; of none,
    nothing. *spared* are the ids of logins that stay whatever else is said: one's own.
    """

    subject: str = ""
    prefix: str = ""
    label: str = ""
    kinds: tuple[TokenKind, ...] = BOTH
    key_id: str = ""
    ids: tuple[str, ...] | None = None
    spared: tuple[str, ...] = ()

    def matches(self, token: Token) -> bool:
        """Whether *token* is meant."""
        return (
            token.kind in self.kinds
            and token.id not in self.spared
            and (not self.subject or token.subject == self.subject)
            and token.subject.startswith(self.prefix)
            and (not self.label or self.label in token.labels)
            and (not self.key_id or token.key_id == self.key_id)
            and (self.ids is None or token.id in self.ids)
        )

    @property
    def mark(self) -> Mark | None:
        """What one entry of the feed ends at once: exactly what is meant, recorded or not.

        ``None``: these tokens are ended one by one. Who is *spared* has to go on as a login that
        is issued behind the mark; behind that of a label none is, since it ends later ones, too:
        with somebody spared a label is no mark.
        (A label is only a login's.)
        """
        if self.prefix or self.key_id or self.ids is not None:
            return None
        if self.label:
            alone = not self.subject and not self.spared and "login" in self.kinds
            return "label" if alone else None
        return "subject" if self.subject else "everybody"


@dataclass(frozen=True, slots=True)
class TokenPage:
    """A step's tokens, the newest first. *after* is where the next step begins; ``""``: the end.

    *share* is how much of the walk is over, from 0 to 1.
    """

    tokens: tuple[Token, ...]
    after: str
    share: float


@dataclass(frozen=True, slots=True)
class Person:
    """A subject with recorded tokens, and how many of them are meant."""

    subject: str
    logins: int
    api_tokens: int
    #: When the newest of them was issued.
    newest: int


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """A step's people, by name; *after* and *share* as of :class:`TokenPage`."""

    people: tuple[Person, ...]
    after: str
    share: float


@dataclass(frozen=True, slots=True)
class Count:
    """How many of the tokens a step has met."""

    count: int
    after: str
    share: float


@dataclass(frozen=True, slots=True)
class Ended:
    """What a step has ended, and whose it was; *revocation* says so, if it ended anything."""

    count: int
    subjects: tuple[str, ...]
    revocation: Revocation | None
    after: str
    share: float


class Selecting:
    """Finds and ends the recorded tokens that a :class:`TokenFilter` means, step by step.

    Each call raises :class:`~flask_clustertoken.errors.StoreError` where the store is in trouble,
    and :class:`~flask_clustertoken.tokens.WrongArgument` for an *after* that no step gave.
    """

    def __init__(self, runtime: NodeRuntime, listing: Listing, revoking: Revoking) -> None:
        self._runtime = runtime
        self._listing = listing
        self._revoking = revoking

    def page(
        self, wanted: TokenFilter, after: str = "", *, most: int = MOST, calls: int = CALLS
    ) -> TokenPage:
        """Up to *most* of the tokens, by at most *calls* pages of the store.

        A page may be empty, and not the last: then the walk has only come further.
        """
        if wanted.ids is not None:
            return self._ticked(wanted, wanted.ids)
        walk = _Walk(self, wanted, calls, first=most + 1)
        found: list[tuple[str, Token]] = []
        for key, token in walk.begin(_start(after, _AFTER_TOKEN)):
            if token is not None and wanted.matches(token):
                found.append((key, token))
            if len(found) > most:
                # (One more than is shown: so the last page knows that it is the last.)
                found.pop()
                return _page(found, found[-1][0])
        return _page(found, walk.ended_at)

    def every(self, wanted: TokenFilter) -> Iterator[Token]:
        """All of the tokens, read as they are asked for: for whoever needs the last one, too."""
        after, more = "", True
        while more:
            page = self.page(wanted, after, most=PAGE)
            yield from page.tokens
            after, more = page.after, bool(page.after)

    def _ticked(self, wanted: TokenFilter, ids: tuple[str, ...]) -> TokenPage:
        """What is left of those that were ticked: an id says where its record lies."""
        self.catch_up()
        records = self._runtime.store.get_many([record_key(one) for one in ids])
        tokens = ((key, self._listing.listed(one)) for key, one in records.items())
        return _page([(key, one) for key, one in tokens if one and wanted.matches(one)], "")

    def people(
        self, wanted: TokenFilter, after: str = "", *, most: int = MOST, calls: int = CALLS
    ) -> PeoplePage:
        """Up to *most* of the subjects that have such tokens, as :meth:`page`.

        All of a subject's records lie in one of 4,096 shards: each is read as a whole.
        """
        start = place = _start(after, _AFTER_PERSON)
        shard, _, seen = start.partition("-")
        found: list[Person] = []
        walk = _Walk(self, wanted, calls, whole_shards=True)
        for number, records in groupby(walk.begin(f"{shard}/" if shard else ""), _shard_of):
            for order, person in self._people_of(records, wanted):
                if number == shard and order <= seen:
                    continue
                if len(found) == most:
                    return _people(found, place)
                found.append(person)
                place = f"{number}-{order}"
        return _people(found, walk.ended_at[:3] and f"{int(walk.ended_at[:3], 16) + 1:03x}")

    @staticmethod
    def _people_of(
        records: Iterator[tuple[str, Token | None]], wanted: TokenFilter
    ) -> list[tuple[str, Person]]:
        """The people of one shard, in an order that does not change when some of them leave."""
        found: dict[str, list[Token]] = {}
        for _, token in records:
            if token is not None and wanted.matches(token):
                found.setdefault(token.subject, []).append(token)
        people = []
        for subject, tokens in found.items():
            logins = sum(one.kind == "login" for one in tokens)
            newest = max(one.issued_at for one in tokens)
            person = Person(subject, logins, len(tokens) - logins, newest)
            people.append((f"{digest('subject', subject):016x}", person))
        return sorted(people, key=lambda one: one[0])

    def end(self, wanted: TokenFilter, after: str = "", *, calls: int = CALLS) -> Ended:
        """End up to a hundred of the tokens, one by one, all in one entry of the feed."""
        page = self.page(wanted, after, most=AT_ONCE, calls=calls)
        ids = [one.id for one in page.tokens]
        revocation = self._revoking.revoke_ids(ids) if ids else None
        subjects = tuple(dict.fromkeys(one.subject for one in page.tokens))
        return Ended(len(ids), subjects, revocation, page.after, page.share)

    def end_all(self, wanted: TokenFilter) -> Revocation:
        """End what one entry of the feed can end: see :attr:`TokenFilter.mark`.

        With nobody spared: the entry covers all of them.
        """
        match None if wanted.spared else wanted.mark:
            case "subject":
                return self._revoking.revoke_subject(wanted.subject, wanted.kinds)
            case "label":
                return self._revoking.revoke_labels([wanted.label])
            case "everybody":
                return self._revoking.revoke_all(wanted.kinds)
        raise ClusterTokenError("no one entry of the feed says this filter")

    def count(self, wanted: TokenFilter, after: str = "", *, calls: int = CALLS) -> Count:
        """How many there are, as far as one step comes."""
        page = self.page(wanted, after, most=calls * PAGE, calls=calls)
        return Count(len(page.tokens), page.after, page.share)

    def read(self, wanted: TokenFilter, after: str, limit: int) -> list[tuple[str, Token | None]]:
        """One page of the store, without what cannot be *wanted*."""
        page: list[tuple[str, Record]] = self._runtime.store.scan(_area(wanted), after, limit)
        kind = wanted.kinds[0] if len(wanted.kinds) == 1 else ""
        signs = signs_of(prefix=wanted.prefix, kind=kind, label=wanted.label)
        return [
            (key, self._listing.listed(record) if has_signs(record.value, signs) else None)
            for key, record in page
        ]

    def catch_up(self) -> None:
        """Know what was revoked until now."""
        self._runtime.follower().follow()

    def late(self) -> float:
        """When a step that begins now is late, by the monotonic clock."""
        return self._runtime.clock.monotonic() + LATE

    def is_late(self, moment: float) -> bool:
        return self._runtime.clock.monotonic() >= moment


class _Walk:
    """Records in their order, as far as one step may ask for them.

    *ended_at*: the last record that was read, without its area; ``""``: there are no more.
    """

    def __init__(
        self,
        selecting: Selecting,
        wanted: TokenFilter,
        calls: int,
        *,
        first: int = PAGE,
        whole_shards: bool = False,
    ) -> None:
        self._selecting = selecting
        #: So many records are read at first: more only where few of those are meant.
        self._limit = min(first, PAGE)
        self._wanted = wanted
        self._calls = calls
        self._whole_shards = whole_shards
        self.ended_at = ""

    def begin(self, after: str) -> Iterator[tuple[str, Token | None]]:
        """What lies behind *after*; each key without its area."""
        selecting, calls = self._selecting, self._calls
        selecting.catch_up()
        late = selecting.late()
        key = f"{_TOKENS}{after}" if after else ""
        spent = False
        while True:
            page = selecting.read(self._wanted, key, self._limit)
            calls -= 1
            self._limit = min(4 * self._limit, PAGE)
            if not page:
                self.ended_at = ""
                return
            for key, token in page:
                inside = key.removeprefix(_TOKENS)
                if spent and inside[:3] != self.ended_at[:3]:
                    return
                self.ended_at = inside
                yield inside, token
            if not spent and (calls <= 0 or selecting.is_late(late)):
                if not self._whole_shards:
                    return
                # (What was read of the shard is worth nothing without the rest of it.)
                spent = True


def _area(wanted: TokenFilter) -> str:
    return records_of(wanted.subject) if wanted.subject else _TOKENS


def _shard_of(one: tuple[str, Token | None]) -> str:
    return one[0][:3]


def _start(after: str, form: re.Pattern[str]) -> str:
    if after and not form.fullmatch(after):
        raise WrongArgument("this is not where a page of tokens ended")
    return after


def _share(after: str) -> float:
    return int(after[:3], 16) / _SHARDS if after else 1.0


def _page(found: list[tuple[str, Token]], after: str) -> TokenPage:
    tokens = sorted((one for _, one in found), key=lambda one: (-one.issued_at, one.id))
    return TokenPage(tuple(tokens), after, _share(after))


def _people(found: list[Person], after: str) -> PeoplePage:
    if len(after) == 4:  # (the shard behind the last one)
        after = ""
    return PeoplePage(tuple(sorted(found, key=lambda one: one.subject)), after, _share(after))
