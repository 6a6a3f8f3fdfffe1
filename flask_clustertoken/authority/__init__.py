"""Authority: the whole life of a token. Issue, authenticate, renew, revoke, list.

Imports the rooms of tokens, stores, revocations, cluster and shared; it knows no HTTP: texts come
in, texts go out. Others use :class:`TokenAuthority`, which is the whole of it, and
:class:`IssuedToken`, which is what it hands out.
"""

from __future__ import annotations

from .authority import TokenAuthority as TokenAuthority
from .authority import authorities as authorities
from .history import HistoryPage as HistoryPage
from .issued import IssuedToken as IssuedToken
from .locking import PlannedLock as PlannedLock
from .locking import StandingLock as StandingLock
from .proving import CHALLENGE_LIFE as CHALLENGE_LIFE
from .reuse import AGAIN as AGAIN
from .revoking import LOGINS as LOGINS
from .selecting import AT_ONCE as AT_ONCE
from .selecting import BOTH as BOTH
from .selecting import Count as Count
from .selecting import PeoplePage as PeoplePage
from .selecting import Person as Person
from .selecting import TokenFilter as TokenFilter
from .selecting import TokenPage as TokenPage
from .tally import Tally as Tally
from .watch import Watch as Watch
from .watch import WhileValid as WhileValid
from .watching import Watching as Watching
