"""Shared: what the servers of one deployment share and what is no token.

Imports stores and ground, nothing of tokens or revocations. Others use :class:`SharedData`.
"""

from __future__ import annotations

from .values import SharedData as SharedData
