"""Challenges: what a browser is to sign. Nothing of them is stored: each is a note of our own.

One names what it is for, the login, and, once there is one, the key: so a proof of another
session, or one for a registration, is worth nothing elsewhere. It is good for a minute, on every
node that has the keys, and can be answered again within it: whoever does has the key's signature,
and the login's cookie, and gets what the browser got.
"""

from __future__ import annotations

from ..authority import CHALLENGE_LIFE, TokenAuthority
from ..tokens import SignedNote, Token

_REGISTER, _REFRESH = "bind", "prove"


class Challenges:
    """Makes and checks challenges, for one process."""

    def __init__(self, authority: TokenAuthority) -> None:
        self._authority = authority

    def to_register(self, login: Token) -> str:
        return self._write(_REGISTER, login.id)

    def to_refresh(self, login: Token) -> str:
        return self._write(_REFRESH, login.id, login.bound_key)

    def names(self, text: str) -> str:
        """The id of the login for whose registration *text* is a challenge; ``""``: it is none,
        or too old."""
        note = self._good(_REGISTER, text)
        return note.said[0] if note is not None else ""

    def refreshes(self, text: str, login: Token) -> bool:
        """Whether *text* is a challenge for this very *login* and its key, and still good."""
        note = self._good(_REFRESH, text)
        return note is not None and note.said == (login.id, login.bound_key)

    def _write(self, purpose: str, *said: str) -> str:
        ends_at = int(self._authority.clock.time()) + CHALLENGE_LIFE
        return self._authority.proving.notes.write(purpose, said, ends_at)

    def _good(self, purpose: str, text: str) -> SignedNote | None:
        proving = self._authority.proving
        note = proving.notes.read(purpose, text)
        if not isinstance(note, SignedNote):
            return None
        left = note.ends_at + proving.tolerance - self._authority.clock.time()
        return note if left > 0 else None
