"""The cookie's name and attributes, and which of them go together.

The names ``__Host-`` and ``__Secure-`` are promises that browsers enforce (rfc6265bis): the
cookie came over HTTPS and, with ``__Host-``, from this host alone. Servers must compare the
exact name; browsers compare the prefix without regard to case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigurationError

SameSite = Literal["Lax", "Strict", "None"]


@dataclass(frozen=True, slots=True)
class CookieAttributes:
    """Name and attributes, with the prefix that they allow already in the name."""

    name: str = "clustertoken"
    domain: str | None = None
    path: str = "/"
    secure: bool = True
    httponly: bool = True
    samesite: SameSite = "Lax"
    partitioned: bool = False

    def __post_init__(self) -> None:
        host = self.secure and self.domain is None and self.path == "/"
        # Browsers hold a name to its prefix however it is spelled.
        lowered = self.name.lower()
        if lowered.startswith("__host-") and not host:
            raise ConfigurationError(
                "COOKIE_NAME",
                f"{self.name!r} needs a secure cookie for this host and path / only.",
                "Set COOKIE_SECURE, leave COOKIE_DOMAIN and COOKIE_PATH out, or rename it.",
            )
        if lowered.startswith("__secure-") and not self.secure:
            raise ConfigurationError(
                "COOKIE_NAME", f"{self.name!r} needs COOKIE_SECURE.", "Set it, or rename it."
            )
        if (self.partitioned or self.samesite == "None") and not self.secure:
            raise ConfigurationError(
                "COOKIE_SECURE",
                "a partitioned cookie, or one with SameSite=None, must be secure.",
                "Set COOKIE_SECURE.",
            )
        if self.secure and not lowered.startswith(("__host-", "__secure-")):
            object.__setattr__(self, "name", ("__Host-" if host else "__Secure-") + self.name)
