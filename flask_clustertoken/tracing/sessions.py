"""Sessions: the beginning and the end of a login as events of OpenTelemetry's.

After its semantic conventions for sessions (in development, and written for clients):
``session.start`` and ``session.end``, with the attributes ``session.id`` and
``session.previous_id``. An id is the digest under which the store has the login's record, never the
token's own.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..authority import TokenAuthority
from ..cluster import library_version
from ..events import LoginEnding, TokenBound, TokenIssued, TokenRevoked
from ..extension import CurrentToken
from ..tokens import Token, record_key
from .current import context

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

#: Whose events they are, for whoever filters by it.
SCOPE = "flask_clustertoken"

#: The login that its own user is just ending in this context.
_ending: ContextVar[Token | None] = ContextVar("clustertoken_session_ending", default=None)


def session_id(token: Token | CurrentToken) -> str:
    """What stands for *token* as a session: 40 hexadecimal digits, and no way back to its id.

    For the attribute ``session.id`` of an app's own spans and logs; the same through every renewal.
    Raises :class:`ValueError` where nobody is logged in.
    """
    if token.id is None:
        raise ValueError("nobody is logged in: there is no session")
    return _of_id(token.id)


def _of_id(token_id: str) -> str:
    return record_key(token_id).rpartition("/")[2]


class Sessions:
    """Tells of the logins that one process makes and ends. API tokens are no sessions."""

    def __init__(self, authority: TokenAuthority, provider: LoggerProvider | None) -> None:
        from opentelemetry._logs import get_logger

        self._logger = get_logger(SCOPE, library_version(), logger_provider=provider)
        self._clock = authority.clock
        events = authority.events
        events.listen(TokenIssued, self._issued)
        events.listen(TokenBound, self._bound)
        events.listen(LoginEnding, self._ends)
        events.listen(TokenRevoked, self._revoked)

    def _issued(self, event: TokenIssued) -> None:
        token, before = event.token, event.instead_of
        if token.kind == "login":
            # (Another person's login in the same browser goes on as nothing.)
            goes_on = before is not None and before.subject == token.subject
            self._tell("session.start", token.id, before.id if before and goes_on else "")

    def _bound(self, event: TokenBound) -> None:
        self._tell("session.start", event.token.id, event.instead_of)

    def _ends(self, event: LoginEnding) -> None:
        _ending.set(event.token)

    def _revoked(self, event: TokenRevoked) -> None:
        for token_id in event.logins:
            self._tell("session.end", token_id)
        ending = _ending.get()
        if ending is None:
            return
        _ending.set(None)
        if event.notice.kind == "subject" and ending.subject in event.named:
            # Its user ended all of them: this one is known by its id.
            self._tell("session.end", ending.id)

    def _tell(self, name: str, token_id: str, previous: str = "") -> None:
        from opentelemetry._logs import LogRecord, SeverityNumber

        attributes = {"session.id": _of_id(token_id)}
        if previous:
            attributes["session.previous_id"] = _of_id(previous)
        self._logger.emit(
            LogRecord(
                timestamp=int(self._clock.time() * 1e9),
                context=context(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                event_name=name,
                attributes=attributes,
            )
        )
