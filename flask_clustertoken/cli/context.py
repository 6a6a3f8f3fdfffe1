"""Door: how a command gets at the realm, whichever way it was called."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..audit import AuditTrail, at_the_shell, done_by
from ..authority import TokenAuthority
from ..clock import Clock, SystemClock
from ..errors import ClusterTokenError, ConfigurationError, StoreNotOpen
from ..operations import Finding, diagnose
from ..settings import PREFIX, Settings
from ..stores import open_store
from ..stores.base import ClusterStore
from ..tokens import WrongArgument, new_secret
from .exit_codes import STORE, Failure, failure_of

_SILENCE = logging.NullHandler()
_SETTING = re.compile(rf"\b{PREFIX}[A-Z_]+\b")


@dataclass(frozen=True)
class Door:
    """One way in. *program* and *options* are what is typed here instead of ``flask tokens``
    and of a setting, for messages."""

    settings: Settings
    instance_path: str = ""
    clock: Clock = SystemClock()  # noqa: RUF009 - it has no state
    production: bool = True
    program: str = "flask tokens"
    options: Mapping[str, str] | None = None

    def words(self, text: str) -> str:
        """*text*, with commands and settings as they are written behind this door."""
        text = text.replace("flask tokens", self.program)
        options = self.options or {}
        return _SETTING.sub(lambda found: options.get(found[0], found[0]), text)

    def diagnosis(self) -> Iterator[Finding]:
        return diagnose(
            self.settings,
            instance_path=self.instance_path,
            clock=self.clock,
            production=self.production,
        )

    @contextmanager
    def authority(self, *, keys: bool = False) -> Iterator[TokenAuthority]:
        """A passive authority of the command's own, closed afterwards.

        Without *keys* it is not given the realm's: a command that signs nothing needs none, so
        that none must be copied for it. Makes neither a store nor a key: raises
        :class:`Failure` where there is no store, :class:`ConfigurationError` where there is no
        key, :class:`StoreNotOpen` where the store was moved or is being filled.
        """
        settings = self.settings
        if not keys:
            settings = _without_keys(settings)
        elif not settings.secret and not settings.key_path(self.instance_path):
            raise ConfigurationError(
                PREFIX + "SECRET_FILE", "no key was named.", "Name the app's key file."
            )
        store = self.own_store()
        try:
            self.check_begun(store)
            check_open(store)
            authority = self._passive(settings, store)
            trail = AuditTrail.of(authority)
            try:
                with done_by(at_the_shell):
                    yield authority
            finally:
                trail.settle()
                authority.close()
        finally:
            store.close()

    def note(self, store: ClusterStore, event: str, outcome: str, detail: str) -> None:
        """Write down what was done to *store*, for a command that has no authority over it.

        The store keeps it as well, where that is set, if it can be written now.
        """
        settings = _without_keys(self.settings)
        if not _is_open(store):
            settings = replace(settings, audit="log")
        trail = AuditTrail.of(self._passive(settings, store))
        with done_by(at_the_shell):
            trail.note(event, outcome=outcome, detail=detail)
        trail.settle()

    def _passive(self, settings: Settings, store: ClusterStore) -> TokenAuthority:
        """One that is no node of the cluster; the *store* stays its maker's to close."""
        return TokenAuthority(
            settings,
            instance_path=self.instance_path,
            clock=self.clock,
            store=store,
            active=False,
        )

    def own_store(self) -> ClusterStore:
        """The settings' store, which need not be there."""
        store = self.store(self.settings.store, None)
        check_shared(store)
        return store

    def store(
        self, url: str, options: Mapping[str, Any] | None, called: str = PREFIX + "STORE"
    ) -> ClusterStore:
        """The store that *url* names; with the settings' own options if it is the settings'.

        *called* is where the URL stands, for a message about a wrong one.
        """
        # A command says what went wrong itself, in one sentence; the log is for servers.
        logging.getLogger("flask_clustertoken").addHandler(_SILENCE)
        if options is None:
            options = self.settings.store_options if url == self.settings.store else {}
        try:
            return open_store(
                url,
                realm=self.settings.realm,
                instance_path=self.instance_path,
                options=options,
                clock=self.clock,
            )
        except ConfigurationError as error:
            if error.setting == "STORE":
                error.setting = called
            raise

    def check_begun(self, store: ClusterStore, where: str = PREFIX + "STORE") -> None:
        """A mistyped path or realm must not become a store that answers "nothing here"."""
        if not store.begun():
            raise Failure(
                f"There is no store of realm {self.settings.realm} at {store.url}. Start the app "
                f"first, or look at {self.words(f'{where} and {PREFIX}REALM')}.",
                STORE,
            )


def _without_keys(settings: Settings) -> Settings:
    """*settings* for what signs nothing: a key of the realm's need not be here."""
    return replace(settings, secret=(new_secret(),), secret_file="")


def _is_open(store: ClusterStore) -> bool:
    try:
        return store.begun() and store.root().state == "open"
    except ClusterTokenError:
        return False


def check_shared(store: ClusterStore, called: str = PREFIX + "STORE") -> None:
    """:class:`ConfigurationError` where a command would look at a store of its own.

    *called* is where the store was named.
    """
    if not store.shared:
        raise ConfigurationError(
            called,
            f"what is in {store.scheme}: belongs to one process, and no other can look at it.",
            "Use directory: or zookeeper://….",
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
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            "STORE_OPTIONS", f"{path} is not a readable JSON file.", "Write one object into it."
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError("STORE_OPTIONS", f"{path} does not hold a JSON object.")
    return found


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn this library's errors into sentences and codes; anything else is a bug of ours."""

    @wraps(command)
    def wrapper(door: Door, *args: Any, **kwargs: Any) -> Any:
        try:
            return command(door, *args, **kwargs)
        except WrongArgument as error:
            raise click.UsageError(f"{error}.") from error
        except ClusterTokenError as error:
            failure = failure_of(error)
            raise Failure(door.words(failure.message), failure.exit_code) from error

    return wrapper


def with_door(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the door as its first argument."""
    return click.make_pass_decorator(Door)(command)
