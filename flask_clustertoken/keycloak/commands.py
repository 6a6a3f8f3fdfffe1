"""Commands: ``flask tokens keycloak nodes add|remove|list``."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timezone

import click
from flask import Flask
from flask.cli import with_appcontext

from ..audit import AuditTrail, at_the_shell, done_by
from ..errors import ClusterTokenError
from .options import bare_host
from .state import KeycloakState, current_state


@click.group("keycloak")
def keycloak_group() -> None:
    """What concerns Keycloak."""


@keycloak_group.group("nodes")
def nodes_group() -> None:
    """The hosts that are registered as nodes of the client."""


def _state() -> KeycloakState:
    try:
        state = current_state()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    state.authority.active = False
    return state


def _host(state: KeycloakState, host: str | None) -> str:
    try:
        return bare_host(host) if host else state.options.node_host
    except ClusterTokenError as error:
        raise click.ClickException(str(error)) from error


def _note(state: KeycloakState, event: str, host: str) -> None:
    trail = AuditTrail.of(state.authority)
    with done_by(at_the_shell):
        trail.note(event, detail=host)
    trail.settle()


@nodes_group.command("add")
@click.argument("host", required=False)
@with_appcontext
def add(host: str | None) -> None:
    """Register HOST (default: this one) at Keycloak."""
    state = _state()
    name = _host(state, host)
    try:
        state.hosts.add(state.provider(), name)
        _note(state, "keycloak_node_added", name)
    except ClusterTokenError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{name} is registered.")


@nodes_group.command("remove")
@click.argument("host", required=False)
@with_appcontext
def remove(host: str | None) -> None:
    """Unregister HOST (default: this one) at Keycloak."""
    state = _state()
    name = _host(state, host)
    try:
        workers = state.hosts.workers(name)
        state.hosts.remove(state.provider(), name)
        _note(state, "keycloak_node_removed", name)
    except ClusterTokenError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{name} is not registered any more.")
    if workers and state.options.register_node_at_startup:
        click.echo(f"It has {workers} live workers, which will register it again.")


@nodes_group.command("list")
@with_appcontext
def list_nodes() -> None:
    """Show the registered hosts, as the cluster knows them."""
    state = _state()
    try:
        hosts = sorted(state.hosts.listed(), key=lambda one: one.name)
    except ClusterTokenError as error:
        raise click.ClickException(str(error)) from error
    if not hosts:
        click.echo("No host is registered.")
    for one in hosts:
        since = datetime.fromtimestamp(one.registered_at, timezone.utc)
        click.echo(
            f"{one.name}  registered {since:%Y-%m-%d %H:%M:%S}Z  "
            f"{one.workers} live worker{'s' if one.workers != 1 else ''}"
        )


def attach_commands(app: Flask) -> None:
    """Put the group below ``flask tokens``, or on top where that is not installed."""
    tokens = app.cli.commands.get("tokens")
    if not isinstance(tokens, click.Group):
        app.cli.add_command(keycloak_group)
        return
    # A group of this app's own: the other one belongs to every app of the process.
    mine = copy(tokens)
    mine.commands = dict(tokens.commands)
    mine.add_command(keycloak_group)
    app.cli.add_command(mine)
