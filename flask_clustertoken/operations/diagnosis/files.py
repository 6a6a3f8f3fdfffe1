"""Shared files: how much room they take of what they may take."""

from __future__ import annotations

from collections.abc import Iterator

from ...clock import Clock
from ...settings import PREFIX, Settings
from ...shared import room_of
from ...stores.base import ClusterStore
from .findings import Finding

#: The part of the room from which on it is called little.
LITTLE_LEFT = 0.8


def look_at_files(store: ClusterStore, settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Nothing is said where the deployment has no files."""
    room = room_of(store, clock, settings.deployment, settings.files_total)
    used = room.used()
    if not used:
        return
    full = used >= LITTLE_LEFT * room.total
    yield Finding(
        "warning" if full else "ok",
        "files",
        f"the shared files of deployment {settings.deployment} take {used:,} of {room.total:,} "
        "bytes",
        f"Delete some (flask tokens files list), or raise {PREFIX}FILES_TOTAL on every host, if "
        "the store can hold more."
        if full
        else "",
    )
