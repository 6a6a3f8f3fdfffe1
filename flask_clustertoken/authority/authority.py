"""Authority: the whole life of a token. Issue, authenticate, renew, revoke, list.

A tower of floors, each adding one thing: this process's part in the cluster, then
:mod:`.revoking`, :mod:`.authentication`, :mod:`.listing`, :mod:`.issuing`; here the last things are
added that servers share. It knows no HTTP: texts come in, texts go out.
"""

from __future__ import annotations

from ..cluster import Readiness as Readiness
from ..cluster import nodes as _nodes
from ..shared import SharedData
from .issuing import IssuedToken as IssuedToken
from .issuing import Issuer


class TokenAuthority(Issuer):
    """Judges and makes the tokens of one realm for one process."""

    # -- shared data -------------------------------------------------------------------

    def shared(self, name: str) -> SharedData:
        """The deployment's shared data called *name*."""
        return SharedData(self.store, self.clock, self.settings.deployment, name)

    # -- nodes -------------------------------------------------------------------------

    def nodes(self) -> list[_nodes.ListedNode]:
        """Who is in the cluster, also those that went quiet."""
        self.follower()
        return _nodes.present(self.store)
