"""Events: what a transmitter may tell of, and which of it ends logins unless the app says else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_BASE = "https://schemas.openid.net/secevent/"
CAEP, RISC, SSF = f"{_BASE}caep/event-type/", f"{_BASE}risc/event-type/", f"{_BASE}ssf/event-type/"

SESSION_REVOKED = f"{CAEP}session-revoked"

#: The account is over, and with it whatever else it made.
ACCOUNT_OVER = frozenset({f"{RISC}account-disabled", f"{RISC}account-purged"})

#: What ends logins: OpenID CAEP 1.0, 3.1, and RISC 1.0, 2.
ENDS = frozenset(
    {SESSION_REVOKED, *ACCOUNT_OVER, f"{RISC}sessions-revoked", f"{RISC}credential-compromise"}
)

#: What is asked for besides: the app decides what it means.
TOLD = frozenset(
    {
        f"{CAEP}credential-change",
        f"{CAEP}assurance-level-change",
        f"{CAEP}device-compliance-change",
        f"{CAEP}token-claims-change",
        f"{RISC}account-credential-change-required",
        f"{RISC}account-enabled",
    }
)

#: About the stream itself (OpenID SSF 1.0, 8.1.4 and 8.1.5). Some write ``sse`` still.
VERIFICATION = frozenset({f"{SSF}verification", f"{_BASE}sse/event-type/verification"})
STREAM_UPDATED = frozenset({f"{SSF}stream-updated", f"{_BASE}sse/event-type/stream-updated"})


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One event that a transmitter has told of, as receivers of ``security_event`` get it."""

    #: The ``jti`` of the token that brought it.
    id: str
    #: Its type, a URI.
    type: str
    #: The transmitter.
    issuer: str
    #: When the transmitter issued it, in seconds since 1970.
    issued_at: float
    #: Whom it is about: a subject identifier (RFC 9493), its spelling of today.
    subject: Mapping[str, Any]
    #: What else it says.
    payload: Mapping[str, Any] = field(repr=False)
    #: Whether logins were ended because of it.
    ended: bool = False

    @property
    def short_type(self) -> str:
        """The last part of :attr:`type`, such as ``session-revoked``."""
        return self.type.rpartition("/")[2]
