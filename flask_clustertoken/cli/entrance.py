"""Entrance: ``flask tokens`` as Flask finds it before there is an app.

The app itself has the commands too, and what is asked here is handed on to it: this app's own
group, with what an adapter hung on it. Only where its settings are wrong, so that there is no
app, is it answered here: in a sentence, and by ``doctor`` as a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import ScriptInfo

from ..cluster import KeyFileMissing
from ..errors import ConfigurationError
from ..operations import Finding
from ..settings import Settings
from .commands import add_all
from .context import Door
from .exit_codes import failure_of
from .output import InOrder

#: What is of use without an app; ``keys stage`` where only the key is missing.
WITHOUT_AN_APP: tuple[str, ...] = ("doctor",)
WITHOUT_A_KEY: tuple[str, ...] = ("doctor", "keys")


@dataclass(frozen=True)
class ShutDoor(Door):
    """No app came of the settings, because of *error*."""

    error: ConfigurationError | None = None

    def diagnosis(self) -> Iterator[Finding]:
        assert self.error is not None
        yield Finding(
            "problem", "settings", f"{self.error.setting}: {self.error.problem}", self.error.remedy
        )


class Entrance(click.Group):
    """The app's own command of this name, or :func:`without_an_app`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        return self._command(parent).make_context(info_name, args, parent, **extra)

    def _command(self, parent: click.Context | None) -> click.Command:
        info = parent.ensure_object(ScriptInfo) if parent is not None else ScriptInfo()
        try:
            app = info.load_app()
        except ConfigurationError as error:
            return without_an_app(error)
        if parent is not None:
            parent.with_resource(app.app_context())
        command = app.cli.commands.get(self.name or "")
        if command is None:
            raise click.UsageError("this app has no ClusterToken; call init_app(app) on one")
        return command


def without_an_app(error: ConfigurationError) -> click.Group:
    """The commands where *error* left no app: most of them say it and end."""
    door: Door = ShutDoor(Settings(), error=error)
    useful = WITHOUT_AN_APP
    if isinstance(error, KeyFileMissing):
        door, useful = Door(error.settings, error.instance_path), WITHOUT_A_KEY

    @click.pass_context
    def say(ctx: click.Context) -> None:
        if ctx.invoked_subcommand not in useful:
            raise failure_of(error) from error
        ctx.obj = door

    group = InOrder("tokens", callback=say)
    add_all(group)
    return group


tokens_entrance = Entrance("tokens", help="Logins and API tokens: list them, end them, more.")
