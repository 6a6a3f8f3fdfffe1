"""Door: how a command gets at the realm, whichever way it was called."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..authority import TokenAuthority
from ..clock import Clock, SystemClock
from ..errors import ConfigurationError, StoreNotOpen
from ..keys import new_secret
from ..settings import PREFIX, Settings
from ..stores import open_store
from ..stores.base import ClusterStore

_SILENCE = logging.NullHandler()


@dataclass(frozen=True)
class Door:
    """One way in. *prefix* is what settings are called behind it, for messages."""

    settings: Settings
    instance_path: str = ""
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state
    production: bool = True

    @contextmanager
    def authority(self, *, keys: bool = False) -> Iterator[TokenAuthority]:
        """A passive authority of the command's own, closed afterwards.

        Without *keys* it is not given the realm's: a command that signs nothing needs none, so
        that none is made or must be copied for it. Raises :class:`StoreNotOpen` where the store
        was moved or is being filled.
        """
        settings = self.settings
        if settings.store.startswith("memory:"):
            raise ConfigurationError(
                PREFIX + "STORE",
                "what is in memory: belongs to one process, and no other can look at it.",
                "Use directory: or zookeeper://….",
            )
        # A command says what went wrong itself, in one sentence; the log is for servers.
        logging.getLogger("flask_clustertoken").addHandler(_SILENCE)
        if not keys:
            settings = replace(settings, secret=(new_secret(),), secret_file="")
        authority = TokenAuthority(
            settings, instance_path=self.instance_path, clock=self.clock, active=False
        )
        try:
            check_open(authority.store)
            yield authority
        finally:
            authority.close()

    def store(self, url: str, options: Mapping[str, Any] | None) -> ClusterStore:
        """The store that *url* names; with the settings' own options if it is the settings'."""
        if options is None:
            options = self.settings.store_options if url == self.settings.store else {}
        return open_store(
            url,
            realm=self.settings.realm,
            instance_path=self.instance_path,
            options=options,
            clock=self.clock,
        )


def check_open(store: ClusterStore) -> None:
    """:class:`StoreNotOpen` where nothing may be written, and what is read is not the truth."""
    root = store.root()
    if root.state == "sealed":
        raise StoreNotOpen(
            f"the store was sealed: its contents were moved to {root.moved_to}; "
            f"set {PREFIX}STORE to that"
        )
    if root.state != "open":
        raise StoreNotOpen(
            "the store is still being filled by a migration; repeat 'migrate' if it was cut off"
        )


def read_options(path: str | None) -> dict[str, Any] | None:
    """The options in the JSON file *path*. (Not on the command line: ``ps`` would show them.)"""
    if path is None:
        return None
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "STORE_OPTIONS", f"{path} is not a readable JSON file.", "Write one object into it."
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError("STORE_OPTIONS", f"{path} does not hold a JSON object.")
    return found


def with_door(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the door as its first argument."""
    return click.make_pass_decorator(Door)(command)
