"""Keys: where this process's key ring comes from, and what the store says of its keys."""

from __future__ import annotations

import os
from pathlib import Path

from ..clock import Clock
from ..errors import ConfigurationError
from ..settings import PREFIX, Settings
from ..stores.base import ClusterStore
from ..tokens import RING_KEY, KeyFile, KeyRing


class KeyFileMissing(ConfigurationError):
    """The key file that counts is not there. Carries what a command line needs to make it."""

    def __init__(
        self, settings: Settings, path: str, *, instance_path: str, embedded: bool
    ) -> None:
        self.settings = settings
        self.instance_path = instance_path
        self.path = path
        problem = f"{path} holds no key." if os.path.exists(path) else f"{path} does not exist."
        remedy = (
            "Copy it there from a host that has it; if there is none yet, make it with: "
            "flask tokens keys stage"
        )
        if embedded and settings.secret_file:
            remedy += " (or leave the setting out: then the first start makes a key)"
        super().__init__(PREFIX + "SECRET_FILE", f"there is no key: {problem}", remedy)


def key_ring(
    settings: Settings, store: ClusterStore, clock: Clock, *, instance_path: str, active: bool
) -> KeyRing:
    """The keys that *settings* name. Makes none: that is done once the store is open.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where there is none, and none
    may be made.
    """
    if settings.secret:
        return KeyRing(settings.secret, clock=clock)
    path = settings.key_path(instance_path)
    if not path and store.shared:
        raise ConfigurationError(
            PREFIX + "SECRET", "there is no key.", "Set SECRET, or SECRET_FILE."
        )
    file = KeyFile(Path(path)) if path and store.shared else None
    ring = KeyRing(file=file, clock=clock)
    # Made is only what nobody named, by a node, and where no other host needs the same one.
    made = active and store.embedded and not settings.secret_file
    if file is not None and not ring.held and not made:
        raise KeyFileMissing(settings, path, instance_path=instance_path, embedded=store.embedded)
    return ring


def load_keys(keys: KeyRing, store: ClusterStore, *, active: bool) -> None:
    """Read the key file anew, and what *store*, which is open, says of each key."""
    keys.reread()
    if store.embedded and active:
        # Only now that the store is open: who may not open it leaves no key file either.
        keys.create()
    while True:
        loads = keys.loads
        # (Behind the read that told of it, or a write of ours.)
        record = store.peek(RING_KEY)
        if keys.load_states(record.value if record else None, loads):
            return
