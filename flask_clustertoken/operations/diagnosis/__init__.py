"""Diagnosis: what is wrong with settings, keys, store, clock and nodes, and what to do.

Looks only: nothing is created, and of the one entry that is written to ask for the store's
time nothing is left. What it says names keys by their fingerprints.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...clock import Clock, SystemClock
from ...errors import ConfigurationError
from ...settings import PREFIX, Settings
from ...stores import open_store
from ...stores.base import ClusterStore
from .findings import Finding
from .keys import look_at_keys, look_for_keys
from .settings import look_at_settings
from .store import look_at_store


def diagnose(
    settings: Settings,
    *,
    instance_path: str = "",
    clock: Clock | None = None,
    production: bool = True,
    opened: ClusterStore | None = None,
    read: int = 0,
) -> Iterator[Finding]:
    """Everything that can be said, in the order in which it should be put right. Never raises
    for what it looks at.

    *opened*: the settings' store, where whoever asks has it at hand; it is left open. *read*: up
    to which number this process has understood the feed."""
    clock = clock or SystemClock()
    yield from look_at_settings(settings, production=production)
    path = settings.key_path(instance_path)
    held = yield from look_at_keys(settings, path)
    if opened is not None:
        yield from _look_at_opened(opened, settings, clock, held, path, read)
        return
    try:
        store = open_store(
            settings.store,
            realm=settings.realm,
            instance_path=instance_path,
            options=settings.store_options,
            clock=clock,
            setting=PREFIX + "STORE",
        )
    except ConfigurationError as error:
        yield Finding("problem", "store", f"{error.setting}: {error.problem}", error.remedy)
        return
    with store:
        yield from _look_at_opened(store, settings, clock, held, path)


def _look_at_opened(
    store: ClusterStore,
    settings: Settings,
    clock: Clock,
    held: list[str],
    path: str,
    read: int = 0,
) -> Iterator[Finding]:
    if not held and store.shared:
        yield from look_for_keys(store, settings, path)
    yield from look_at_store(store, settings, clock, held, read)
