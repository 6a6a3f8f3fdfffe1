"""Listing: the recorded tokens, read in pages, never all at once unless somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from ..cluster import NodeRuntime
from ..stores.base import Record
from ..tokens import Token, from_list, record_key, records_of, validation
from .lifetimes import Lifetimes
from .verdict import Verdict


class Listing:
    """Finds tokens by their subject or id."""

    def __init__(self, runtime: NodeRuntime, verdict: Verdict, lifetimes: Lifetimes) -> None:
        self._runtime = runtime
        self._verdict = verdict
        self._lifetimes = lifetimes

    def tokens_of(self, subject: str) -> Iterator[Token]:
        """The live recorded tokens of *subject*, API and login; pages are read as needed.

        A login's ``expires_at`` is the last that the store was told: it lives at least until
        then, and up to a quarter of ``RENEW_AFTER`` longer where it was renewed since.
        ``renewed_at`` says when that was, and so when it was last used, to about
        ``RENEW_AFTER``: what is used more often is not noted more often.
        Raises :class:`TypeError` or :class:`ValueError` at once for what is no subject.

        With the token store ``cookie`` logins are not recorded: ``records_logins``.
        """
        wanted = validation.subject(subject)
        return (one for one in self._walk(records_of(wanted)) if one.subject == wanted)

    def tokens(self) -> Iterator[Token]:
        """Every live recorded token of the realm; pages are read as needed."""
        return self._walk("token/")

    def token(self, token_id: str) -> Token | None:
        """The live recorded token with this id, if there is one."""
        key = record_key(token_id)
        self._runtime.follower().follow()
        record = self._runtime.store.get(key)
        return self.listed(record) if record is not None else None

    def has_one_on(self, token: Token) -> bool | None:
        """Whether another live login of *token*'s subject is on a device of that name.

        ``None`` where logins are not recorded.
        """
        if not self._lifetimes.records_logins:
            return None
        others = (one for one in self.tokens_of(token.subject) if one.kind == "login")
        return any(one.device == token.device and one.id != token.id for one in others)

    def _walk(self, prefix: str) -> Iterator[Token]:
        self._runtime.follower().follow()
        for _, record in self._runtime.store.walk(prefix):
            token = self.listed(record)
            if token is not None:
                yield token

    def listed(self, record: Record) -> Token | None:
        """The live token of *record*; ``None`` for what was ended, or is none."""
        lifetimes = self._lifetimes
        try:
            token = from_list(record.value, record.expires_at, lifetimes.spare, lifetimes.lifetime)
        except ValueError:
            return None
        return token if self._verdict.covered(token) is None else None
