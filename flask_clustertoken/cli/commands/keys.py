"""The commands on keys: list them, and change the signing one in stages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ...operations import KeyStatus, Retired, Rotation, Staged, first_key
from ...tokens import KeyFile
from ..context import Door, explained, with_door
from ..options import be_sure, json_option, yes_option
from ..output import InOrder, as_json, clean, moment, several, table


@click.group("keys", cls=InOrder, invoke_without_command=True)
@json_option
@click.pass_context
def keys_group(ctx: click.Context, json_too: bool) -> None:
    """The realm's keys, by fingerprint, and a new one in stages without a restart.

    \b
    The stages:
      flask tokens keys stage          # a new key, in this host's file
      … copy the file to the other hosts …
      flask tokens keys sign FP        # refused until every live node has it
      … wait for LIFETIME …
      flask tokens keys retire FP      # the old one: no logins any more
      flask tokens keys drop FP        # ends its API tokens too
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(keys_list_command, json_too=json_too)


@keys_group.command("list")
@json_option
@with_door
@explained
def keys_list_command(door: Door, json_too: bool) -> None:
    """List every key with its state, who has it, and the API tokens that it verifies.

    \b
    Example:
      flask tokens keys list
    """
    with door.authority(keys=True) as authority:
        found = Rotation(authority).statuses()
        now = authority.clock.time()
    if json_too:
        as_json({"keys": [_key_facts(one) for one in found]})
        return
    heads = ("KEY", "STATE", "SINCE", "HERE", "ON NODES", "API TOKENS", "LOGINS END")
    rows = (
        (
            one.id,
            one.state,
            moment(one.since, "?"),
            "yes" if one.here else "no",
            f"{len(one.on)} of {len(one.on) + len(one.lacking)}",
            one.api_tokens,
            _logins_end(one, now),
        )
        for one in found
    )
    table(heads, rows, "No keys.")


def _logins_end(one: KeyStatus, now: float) -> str:
    if one.logins_over is None:
        return ""
    return "over" if one.logins_over <= now else moment(one.logins_over)


def _key_facts(one: KeyStatus) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state,
        "since": one.since,
        "here": one.here,
        "on": list(one.on),
        "lacking": list(one.lacking),
        "api_tokens": one.api_tokens,
        "logins_over": one.logins_over,
    }


@keys_group.command("stage")
@json_option
@with_door
@explained
def keys_stage_command(door: Door, json_too: bool) -> None:
    """Make a new key in this host's key file. It signs nothing yet.

    Where no key is anywhere yet, it makes the file, and the key in it signs once the app runs.

    \b
    Example:
      flask tokens keys stage
    """
    staged = _stage(door)
    if json_too:
        as_json({"key": staged.key_id, "path": staged.path, "hosts": list(staged.hosts)})
        return
    if staged.first:
        click.echo(f"Made key {staged.key_id}, the first one, in {clean(staged.path)}.")
        click.echo("Copy that file to every host, readable for the app alone, and start the app.")
        return
    hosts = ", ".join(staged.hosts) or "none is running"
    click.echo(f"Staged key {staged.key_id} in {clean(staged.path)}.")
    click.echo(f"Copy that file to the other hosts (nodes run on: {clean(hosts)}), readable for")
    click.echo(f"the app alone. Then: {door.program} keys sign {staged.key_id}")


def _stage(door: Door) -> Staged:
    path = door.settings.key_path(door.instance_path)
    file = KeyFile(Path(path)) if path else None
    if file is not None and not file.read():
        with door.own_store() as store:
            made = first_key(store, file)
            door.note(store, "key_made", "done", made.key_id)
            return made
    with door.authority(keys=True) as authority:
        return Rotation(authority).stage()


@keys_group.command("sign")
@click.argument("fingerprint", metavar="FP")
@json_option
@with_door
@explained
def keys_sign_command(door: Door, fingerprint: str, json_too: bool) -> None:
    """Sign with this key from now on, on every node. The old one goes on verifying.

    Refused, with their names, while a live node does not have it. FP is a fingerprint or the
    beginning of one.

    \b
    Example:
      flask tokens keys sign 1c9f
    """
    with door.authority(keys=True) as authority:
        rotation = Rotation(authority)
        key_id = rotation.find(fingerprint)
        before = rotation.sign(key_id)
    if json_too:
        as_json({"signing": key_id, "verifying": before or None})
        return
    click.echo(f"Key {key_id} signs from now on.")
    if before:
        click.echo(
            f"Key {before} still verifies. When its logins are over: "
            f"{door.program} keys retire {before}"
        )


@keys_group.command("retire")
@click.argument("fingerprint", metavar="FP")
@click.option("--api-only", is_flag=True, help="Keep it for API tokens, also if there are none.")
@click.option("--force-logout", is_flag=True, help="End the logins that it signed.")
@json_option
@with_door
@explained
def keys_retire_command(
    door: Door, fingerprint: str, api_only: bool, force_logout: bool, json_too: bool
) -> None:
    """Let an old key verify no logins any more, only the API tokens that it signed.

    Refused while a login that it signed may be alive, unless --force-logout. Without API
    tokens it is dropped.

    \b
    Examples:
      flask tokens keys retire 77aa
      flask tokens keys retire 77aa --force-logout
    """
    with door.authority(keys=True) as authority:
        retired = Rotation(authority).retire(
            fingerprint, api_only=api_only, force_logout=force_logout
        )
        by_hand = authority.keys.file is None
    if json_too:
        as_json(_retired_facts(retired))
        return
    if retired.state == "api":
        click.echo(
            f"Key {retired.key_id} verifies API tokens only ({retired.api_tokens} alive). "
            f"To end those: {door.program} keys drop {retired.key_id}"
        )
    else:
        click.echo(f"Key {retired.key_id} is dropped; no API token needed it.")
        _say_where(retired, by_hand)


@keys_group.command("drop")
@click.argument("fingerprint", metavar="FP")
@yes_option
@json_option
@with_door
@explained
def keys_drop_command(door: Door, fingerprint: str, yes: bool, json_too: bool) -> None:
    """End a key and everything that it signed, API tokens included. Asks first.

    \b
    Example:
      flask tokens keys drop 77aa --yes
    """
    if not yes and not sys.stdin.isatty():
        be_sure("", yes)
    with door.authority(keys=True) as authority:
        rotation = Rotation(authority)
        key_id = rotation.find(fingerprint)
        count = len(rotation.api_tokens(key_id))
        be_sure(f"Drop key {key_id}, with {several(count, 'live API token')}?", yes)
        dropped = rotation.drop(key_id)
        by_hand = authority.keys.file is None
    if json_too:
        as_json(_retired_facts(dropped))
        return
    ended = several(dropped.api_tokens, "API token")
    click.echo(f"Key {dropped.key_id} is dropped; {ended} ended with it.")
    _say_where(dropped, by_hand)
    click.echo(
        f"If it had leaked: {door.program} revoke-all --kinds login,api --wait\n"
        "A login made with it may have been renewed, or may have got itself an API token, and "
        "either carries another key's signature."
    )


def _say_where(retired: Retired, by_hand: bool) -> None:
    if by_hand:
        click.echo("Take it out of SECRET on every host.")
    elif retired.removed_here:
        click.echo("It is out of this host's file; copy that to the other hosts.")


def _retired_facts(retired: Retired) -> dict[str, Any]:
    return {
        "key": retired.key_id,
        "state": retired.state,
        "api_tokens": retired.api_tokens,
        "removed_here": retired.removed_here,
    }
