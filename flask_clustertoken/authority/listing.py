"""Listing: the recorded tokens, read in pages, never all at once unless somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from ..stores.base import Record
from ..tokens import Token, from_list, record_key, records_of, validation
from .authentication import Judge, read_use, use_key


class Lister(Judge):
    """Finds tokens by their subject or id."""

    def tokens_of(self, subject: str) -> Iterator[Token]:
        """The live recorded tokens of *subject*, API and login; pages are read as needed.

        A login's ``expires_at`` is the last that the store was told: it lives at least until
        then, and up to a quarter of ``RENEW_AFTER`` longer where it was renewed since.
        Raises :class:`TypeError` or :class:`ValueError` at once for what is no subject.

        With the token store ``cookie`` logins are not recorded: :attr:`records_logins`.
        """
        wanted = validation.subject(subject)
        return (one for one in self._walk(records_of(wanted)) if one.subject == wanted)

    def tokens(self) -> Iterator[Token]:
        """Every live recorded token of the realm; pages are read as needed."""
        return self._walk("token/")

    @property
    def records_logins(self) -> bool:
        """Whether lists show login tokens at all."""
        return self.settings.token_store == "session"

    @property
    def _usual_spare(self) -> float:
        """Seconds that the records of our own logins have for renewals that write nothing."""
        return self.settings.renew_after / 4

    def token(self, token_id: str) -> Token | None:
        """The live recorded token with this id, if there is one."""
        key = record_key(token_id)
        self.follower().follow()
        record = self.store.get(key)
        return self._listed(record) if record is not None else None

    def _walk(self, prefix: str) -> Iterator[Token]:
        self.follower().follow()
        for _, record in self.store.walk(prefix):
            token = self._listed(record)
            if token is not None:
                yield token

    def _listed(self, record: Record) -> Token | None:
        try:
            token = from_list(record.value, record.expires_at, self._usual_spare)
        except ValueError:
            return None
        view = self.follower().view
        return None if token.epoch != self._epoch or view.covers(token) else token

    # -- an API token's last use -------------------------------------------------------

    def last_used(self, token_id: str) -> int | None:
        """When an API token was last used, to about an hour; ``None``: not known."""
        return read_use(self.store.get(use_key(token_id)))
