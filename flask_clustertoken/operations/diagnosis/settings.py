"""What the settings allow and an operator should know."""

from __future__ import annotations

from collections.abc import Iterator

from ...settings import PREFIX, Settings
from ...stores import unshared
from .findings import Finding


def look_at_settings(settings: Settings, *, production: bool = True) -> Iterator[Finding]:
    """What is allowed and should be known, or is no good in production."""
    found = list(_doubts(settings, production))
    yield from found or [Finding("ok", "settings", "nothing to say against them")]


def _doubts(settings: Settings, production: bool) -> Iterator[Finding]:
    alone = unshared(settings.store)
    if alone:
        yield Finding(
            "problem" if production else "warning",
            "settings",
            f"STORE is {alone}: each process has its own logins and revocations, gone with it",
            f"Use {PREFIX}STORE = 'directory:' on one host, zookeeper://… on several.",
        )
    if not settings.cookie_secure:
        yield Finding(
            "warning",
            "settings",
            "COOKIE_SECURE is off: whoever listens on plain HTTP can use the login",
            f"Serve HTTPS and leave {PREFIX}COOKIE_SECURE at its default.",
        )
    if not settings.cookie_httponly:
        yield Finding(
            "warning",
            "settings",
            "COOKIE_HTTPONLY is off: a script on the page can read the login",
            f"Leave {PREFIX}COOKIE_HTTPONLY at its default.",
        )
    if settings.when_stale == "accept":
        yield Finding(
            "warning",
            "settings",
            "WHEN_STALE is accept: a node that is cut off goes on accepting revoked tokens",
            f"Leave {PREFIX}WHEN_STALE at 'refuse' where revoked must mean revoked.",
        )
    if settings.token_store == "cookie":
        yield Finding(
            "warning",
            "settings",
            "TOKEN_STORE is cookie: logins are not recorded, lists show API tokens only, and "
            "claims can be read by whoever has the cookie",
            "Revoke by token id, label or subject; or use TOKEN_STORE = 'session'.",
        )
    if settings.absolute_lifetime is None:
        yield Finding(
            "warning",
            "settings",
            "ABSOLUTE_LIFETIME is None: a login in use never ends",
            f"Set {PREFIX}ABSOLUTE_LIFETIME to the days after which people sign in again.",
        )
