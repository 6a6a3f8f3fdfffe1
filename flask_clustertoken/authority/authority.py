"""Authority: the whole life of a token. Issue, authenticate, renew, revoke, list.

A tower of floors, each adding one thing: this process's part in the cluster, then
:mod:`.revoking`, :mod:`.authentication`, :mod:`.listing`, :mod:`.issuing`; here the last things are
added that servers share. It knows no HTTP: texts come in, texts go out.
"""

from __future__ import annotations

from functools import cached_property

from ..cluster import Readiness as Readiness
from ..cluster import nodes as _nodes
from ..shared import SharedData
from ..tokens import Refusal, Token
from .issuing import IssuedToken as IssuedToken
from .issuing import Issuer
from .watching import Watching


class TokenAuthority(Issuer):
    """Judges and makes the tokens of one realm for one process."""

    # -- shared data -------------------------------------------------------------------

    def shared(self, name: str) -> SharedData:
        """The deployment's shared data called *name*."""
        return SharedData(self.store, self.clock, self.settings.deployment, name)

    # -- streams and sockets -----------------------------------------------------------

    @cached_property
    def watching(self) -> Watching:
        """The connections of this process that end with their tokens."""
        return Watching(
            self,
            judge=self._stands,
            ends_at=self._ends_at,
            keeps_record=self.keeps_record,
            spare=self._usual_spare,
        )

    def _stands(self, token: Token) -> Token | Refusal:
        if token.epoch not in ("", self._epoch):
            return Refusal("revoked", "issued before the store was replaced", token.id)
        return self.judge_foreign(token)

    # -- nodes -------------------------------------------------------------------------

    def nodes(self) -> list[_nodes.ListedNode]:
        """Who is in the cluster, also those that went quiet."""
        self.follower()
        return _nodes.present(self.store)
