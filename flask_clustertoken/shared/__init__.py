"""Shared: what the servers of one deployment share and what is no token.

Imports stores and ground, nothing of tokens or revocations. Others use :class:`SharedData`
and what it hands out.
"""

from __future__ import annotations

from .lease import Loss as Loss
from .lease import SharedLease as SharedLease
from .values import SharedData as SharedData
