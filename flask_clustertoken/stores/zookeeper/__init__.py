"""The ZooKeeper store: hosts that share an ensemble. Only :mod:`.connection` knows kazoo.

Imports the contract and what is below it. Others use :class:`ZooKeeperStore`, by its URL.
"""

from __future__ import annotations

from .connection import Line as Line
from .store import ZooKeeperStore as ZooKeeperStore
