"""Own entry: a node's line in the list of nodes, without which it cannot be fresh."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ..stores.base import Vouched
from .reader import Reader


class OwnEntry:
    """What this node publishes, in the store that *reader* reads; *describe* gives its words."""

    def __init__(self, reader: Reader, describe: Callable[[], bytes]) -> None:
        #: 128 random bits: a restarted process, or a fork's child, is another node.
        self.node_id = secrets.token_hex(16)
        self._reader = reader
        self._describe = describe
        #: The reader's losses when the entry was made; ``None``: there is none.
        self._made: int | None = None

    @property
    def listed(self) -> bool:
        """It is in the list, as far as known: in this store's, not in that of a lost one."""
        return self._made == self._reader.losses

    def make(self) -> None:
        losses = self._reader.losses
        self._reader.store.announce(self.node_id, self._describe())
        self._made = losses

    def rewrite(self) -> Vouched:
        return self._reader.store.vouch(self.node_id, self._describe())

    def was_removed(self) -> None:
        """Somebody else took it out of the list."""
        self._made = None

    def withdraw(self) -> None:
        """Take it out of the list; whoever calls this has given its lease up first."""
        if self.listed:
            self._reader.store.withdraw(self.node_id)
            self._made = None
