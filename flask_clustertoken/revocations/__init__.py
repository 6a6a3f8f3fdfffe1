"""Revocations: what is no longer good, and how a node knows: the feed's entries and the view.

Imports stores, tokens and what is below them. Others use the :class:`Follower`, which keeps this
process's :class:`View`, and :class:`FeedEntry`, which says what an entry of the feed means.
"""

from __future__ import annotations

from . import entry as entry
from .entry import BEYOND as BEYOND
from .entry import OLDEST_FORMAT as OLDEST_FORMAT
from .entry import REVOKING as REVOKING
from .entry import FeedEntry as FeedEntry
from .entry import Kind as Kind
from .follower import Follower as Follower
from .locks import Lock as Lock
from .locks import LockTarget as LockTarget
from .locks import lock_of as lock_of
from .place import Place as Place
from .reader import Hooks as Hooks
from .runner import FOLLOWING as FOLLOWING
from .runner import Runner as Runner
from .view import View as View
from .view import mark_covers as mark_covers
