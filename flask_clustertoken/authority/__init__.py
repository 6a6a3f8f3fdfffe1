"""Authority: the whole life of a token. Issue, authenticate, renew, revoke, list.

Imports the rooms of tokens, stores, revocations, cluster and shared; it knows no HTTP: texts come
in, texts go out. Others use :class:`TokenAuthority`, which is the whole of it, and
:class:`IssuedToken`, which is what it hands out.
"""

from __future__ import annotations

from .authority import StandingLock as StandingLock
from .authority import TokenAuthority as TokenAuthority
from .issuing import IssuedToken as IssuedToken
from .issuing import Issuer as Issuer
from .issuing import acting_token as acting_token
from .revoking import LOGINS as LOGINS
