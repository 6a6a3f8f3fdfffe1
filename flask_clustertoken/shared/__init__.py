"""Shared: what the servers of one deployment share and what is no token.

Imports stores and ground, nothing of tokens or revocations. Others use :class:`SharedData`
and what it hands out.
"""

from __future__ import annotations

from .fileinfo import FileInfo as FileInfo
from .files import SharedFiles as SharedFiles
from .files import every_file as every_file
from .lease import Loss as Loss
from .lease import SharedLease as SharedLease
from .pieces import room_of as room_of
from .reading import SharedFile as SharedFile
from .sweep import sweep_files as sweep_files
from .values import SLOT_LIFE as SLOT_LIFE
from .values import SharedData as SharedData
