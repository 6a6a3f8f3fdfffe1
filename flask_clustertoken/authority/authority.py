"""Authority: the whole life of a token. Issue, authenticate, renew, revoke, list.

A tower of floors, each adding one thing: this process's part in the cluster, then
:mod:`.revoking`, :mod:`.authentication`, :mod:`.listing`, :mod:`.issuing`; here the last things are
added that servers share. It knows no HTTP: texts come in, texts go out.
"""

from __future__ import annotations

from typing import Any

from ..cluster import Readiness as Readiness
from ..cluster import Revocation
from ..cluster import nodes as _nodes
from ..settings import Settings
from ..shared import SharedData
from .issuing import IssuedToken as IssuedToken
from .issuing import Issuer
from .locking import Locking
from .locking import StandingLock as StandingLock


class TokenAuthority(Issuer):
    """Judges and makes the tokens of one realm for one process."""

    def __init__(self, settings: Settings, **parts: Any) -> None:
        super().__init__(settings, **parts)
        self.locking = Locking(self, self, lambda seq: Revocation(seq, self))

    # -- shared data -------------------------------------------------------------------

    def shared(self, name: str) -> SharedData:
        """The deployment's shared data called *name*."""
        return SharedData(self.store, self.clock, self.settings.deployment, name)

    # -- nodes -------------------------------------------------------------------------

    def nodes(self) -> list[_nodes.ListedNode]:
        """Who is in the cluster, also those that went quiet."""
        self.follower()
        return _nodes.present(self.store)
