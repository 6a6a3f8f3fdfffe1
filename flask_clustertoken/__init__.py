"""Login tokens that work on every server, slide while used, and end on all of them at once.

The names below are the public surface. They are resolved when they are first asked for, so
that the core can be imported where Flask is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .authority import IssuedToken as IssuedToken
    from .authority import TokenAuthority as TokenAuthority
    from .cluster import Confirmation as Confirmation
    from .cluster import Revocation as Revocation
    from .extension import ClusterToken as ClusterToken
    from .extension import current_token as current_token
    from .extension import fresh_login_required as fresh_login_required
    from .extension import require_token as require_token
    from .extension import safe_target as safe_target
    from .extension import send_shared_file as send_shared_file
    from .extension import token_policy as token_policy
    from .extension import token_required as token_required
    from .settings import Settings as Settings
    from .tokens import Refusal as Refusal
    from .tokens import Token as Token
    from .wsgi import ClusterTokenMiddleware as ClusterTokenMiddleware

_HOMES = {
    "ClusterToken": "extension",
    "ClusterTokenMiddleware": "wsgi",
    "Confirmation": "cluster",
    "IssuedToken": "authority",
    "Refusal": "tokens",
    "Revocation": "cluster",
    "Settings": "settings",
    "Token": "tokens",
    "TokenAuthority": "authority",
    "current_token": "extension",
    "fresh_login_required": "extension",
    "require_token": "extension",
    "safe_target": "extension",
    "send_shared_file": "extension",
    "token_policy": "extension",
    "token_required": "extension",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
