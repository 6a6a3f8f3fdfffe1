"""Cluster: who is in it. This process's part, the list of nodes, and "is it known everywhere?"

Imports revocations, stores, tokens and what is below them. Others use :class:`NodeRuntime` (what
one process holds in one realm), the :class:`Publisher` with which it appends to the feed,
:class:`Node`, and :class:`Revocation` with its confirmation.
"""

from __future__ import annotations

from . import nodes as nodes
from .confirmation import Answer as Answer
from .confirmation import Behind as Behind
from .confirmation import Confirmation as Confirmation
from .confirmation import Revocation as Revocation
from .confirmation import Silence as Silence
from .forms import TokenReaders as TokenReaders
from .forms import require_readers as require_readers
from .keys import KeyFileMissing as KeyFileMissing
from .nodes import Drift as Drift
from .nodes import ListedNode as ListedNode
from .nodes import Node as Node
from .nodes import drift as drift
from .nodes import library_version as library_version
from .nodes import present as present
from .nodes import this_host as this_host
from .nodes import this_process as this_process
from .publishing import Publisher as Publisher
from .runtime import NodeRuntime as NodeRuntime
from .runtime import Readiness as Readiness
from .runtime import runtimes as runtimes
from .sightings import seen_lately as seen_lately
from .sources import TOLD_AGAIN as TOLD_AGAIN
from .sources import TOLERATED as TOLERATED
from .sources import Source as Source
from .sources import source as source
from .sources import sources as sources
from .sources import tell_heard as tell_heard
from .sources import tell_source as tell_source
from .strangers import Strangers as Strangers
from .sweeper import Sweeper as Sweeper
