"""The commands on the cluster: nodes, purge, restored, doctor, migrate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ...audit import AuditTrail
from ...authority import TokenAuthority
from ...clock import SKEW
from ...cluster import Drift, ListedNode, Sweeper, drift
from ...operations import Migration, Progress, migrate, never_certain, remove_node, worst
from ...stores.base import Purged
from ...tokens import TokenKind
from ..context import Door, check_shared, explained, read_options, with_door
from ..exit_codes import NOT_AS_IT_SHOULD_BE, Failure
from ..options import be_sure, json_option, kinds_option, wait_options, yes_option
from ..output import as_json, clean, several, span, table
from ..waiting import ProgressLine, drawn, report


@click.command("nodes")
@click.option("--remove", metavar="NODE", help="Take a node that is gone out of the list.")
@json_option
@with_door
@explained
def nodes_command(door: Door, remove: str | None, json_too: bool) -> None:
    """List the nodes (worker processes), what each has applied, and where settings differ.

    --remove takes the node's id, the beginning of it, or host:pid. It watches the entry for as
    long as the node may still accept tokens, and refuses if it shows a sign of life. Nodes that
    are gone are also swept up by themselves.

    \b
    Examples:
      flask tokens nodes
      flask tokens nodes --remove web2:4711
    """
    with door.authority() as authority:
        if remove is not None:
            _remove(authority, remove, json_too)
            return
        found = authority.nodes()
        head = authority.follower().view.applied
    live = [one.node for one in found if not one.silent]
    differing = drift(live)
    hosts = {node.host for node in live}
    missing = [host for host in door.settings.expected_nodes if host not in hosts]
    if json_too:
        as_json(
            {
                "nodes": [_node_facts(one) for one in found],
                "drift": [_drift_facts(one) for one in differing],
                "missing_hosts": missing,
                "head": head,
            }
        )
    else:
        _nodes_table(found, differing)
        _warn(differing, missing)
    if differing or missing:
        click.get_current_context().exit(NOT_AS_IT_SHOULD_BE)


def _remove(authority: TokenAuthority, node: str, json_too: bool) -> None:
    line = ProgressLine()
    try:
        gone = remove_node(
            authority.store,
            authority.clock,
            node,
            progress=lambda left: line.say(f"watching it for another {span(left)}"),
        )
    finally:
        line.end()
    AuditTrail.of(authority).note("node_removed", detail=f"{gone.name} ({gone.id})")
    if json_too:
        as_json({"removed": gone.id, "name": gone.name})
    else:
        click.echo(f"Removed {clean(gone.name)}; it can accept nothing any more.")


def _warn(differing: Sequence[Drift], missing: Sequence[str]) -> None:
    """What is not as it should be, on stderr: the table stays one that programs can read."""
    for one in differing:
        click.echo(f"DIFFERS: {clean(one)}", err=True)
    for remedy in dict.fromkeys(one.remedy for one in differing):
        click.echo(clean(remedy), err=True)
    for host in missing:
        click.echo(f"MISSING: {clean(host)} is expected, and no node of it is alive", err=True)


def _drift_facts(one: Drift) -> dict[str, Any]:
    return {
        "setting": one.setting,
        "nodes": list(one.nodes),
        "theirs": one.theirs,
        "usual": one.usual,
        "remedy": one.remedy,
    }


def _nodes_table(found: Sequence[ListedNode], differing: Sequence[Drift]) -> None:
    """A row a node. What is the same for all is said once, so that a row fits a terminal."""
    odd: dict[str, list[str]] = {}
    for drifted in differing:
        for name in drifted.nodes:
            odd.setdefault(name, []).append(drifted.setting.partition(" ")[0])
    columns: dict[str, Callable[[ListedNode], object]] = {
        "ID": lambda one: one.node.id[:8],
        "NAME": lambda one: one.node.name,
        "DEPLOYMENT": lambda one: one.node.deployment,
        "VERSION": lambda one: one.node.version,
        # Since its last contact, by the store's clock.
        "VIEW": lambda one: (
            f"silent {span(one.quiet_for)}" if one.silent else f"{span(one.quiet_for)} old"
        ),
        # (In its first moments a node has published no number yet.)
        "APPLIED": lambda one: one.node.applied or "–",
        "SIGNS WITH": lambda one: one.node.signing or "?",
        "KEYS": lambda one: len(one.node.keys),
        "DIFFERS IN": lambda one: ", ".join(odd.get(one.node.name, [])) or "–",
    }
    same = [
        (name, values.pop())
        for name in ("DEPLOYMENT", "VERSION", "DIFFERS IN")
        if len(values := {str(columns[name](one)) for one in found}) == 1
    ]
    for name, _ in same:
        del columns[name]
    rows = ([show(one) for show in columns.values()] for one in found)
    table(
        list(columns), rows, "No nodes.", [one for one in ("NAME", "DIFFERS IN") if one in columns]
    )
    said = [f"{name.lower()} {clean(value)}" for name, value in same if value != "–"]
    if said:
        click.echo(f"On all of them: {', '.join(said)}.")


def _node_facts(one: ListedNode) -> dict[str, Any]:
    node = one.node
    return {
        "id": node.id,
        "name": node.name,
        "host": node.host,
        "pid": node.pid,
        "deployment": node.deployment,
        "version": node.version,
        "started_at": node.started_at,
        "silent": one.silent,
        "quiet_for": round(one.quiet_for, 3),
        "applied": node.applied,
        "max_staleness": node.max_staleness,
        "accepts_when_stale": node.accepts_when_stale,
        "keys": list(node.keys),
        "signing": node.signing,
        "settings": {**node.realm_settings, **node.settings},
    }


@click.command("purge")
@json_option
@with_door
@explained
def purge_command(door: Door, json_too: bool) -> None:
    """Delete what was over a day ago: records, and entries of the feed.

    The nodes do this by themselves; nothing depends on it. Refused where this host's clock
    differs from the store's.

    \b
    Example:
      flask tokens purge
    """
    with door.authority() as authority:
        store, clock = authority.store, authority.clock
        if not store.embedded and abs(store.time() - clock.time()) > SKEW:
            raise Failure(
                "This host's clock differs from the store's by more than "
                f"{SKEW:.0f} s: what looks over may be alive. Set the clock first."
            )
        chores = Sweeper(store, authority.follower(), clock)
        records, entries = _all(chores.sweep_records), chores.sweep_feed()
        deleted = f"{several(records, 'record')} and {several(entries, 'entry', 'entries')}"
        AuditTrail.of(authority).note("purged", detail=f"{deleted} of the feed")
    if json_too:
        as_json({"records": records, "entries": entries})
    else:
        click.echo(f"Deleted {deleted} of the feed.")


def _all(sweep: Callable[[], Purged]) -> int:
    total, done = 0, False
    while not done:
        count, done = sweep()
        total += count
    return total


@click.command("restored")
@kinds_option
@yes_option
@wait_options
@json_option
@with_door
@explained
def restored_command(
    door: Door,
    kinds: tuple[TokenKind, ...],
    yes: bool,
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """Say that the store was restored from a backup: run it after every restore.

    What was revoked after the backup is not in it. So everything issued before now ends
    (logins, unless --kinds says otherwise), and nodes that had stopped because the store went
    back go on.

    \b
    Example:
      flask tokens restored --kinds login,api --wait
    """
    be_sure(f"End the {' and '.join(kinds)} tokens of everybody, after a restore?", yes)
    with door.authority() as authority:
        report(
            authority,
            authority.restored(kinds),
            "Noted the restore: everybody signs in again",
            wait=wait,
            timeout=timeout,
            json_too=json_too,
        )


@click.command("doctor")
@json_option
@with_door
@explained
def doctor_command(door: Door, json_too: bool) -> None:
    """Look at settings, keys, store, clock and nodes, and say what is wrong and what to do.

    Creates nothing. Ends with 1 if there is a problem; warnings end with 0.

    \b
    Example:
      flask tokens doctor
    """
    found = list(door.diagnosis())
    level = worst(found)
    if json_too:
        as_json(
            {
                "level": level,
                "findings": [
                    {
                        "level": one.level,
                        "about": one.about,
                        "what": door.words(one.what),
                        "remedy": door.words(one.remedy),
                    }
                    for one in found
                ],
            }
        )
    else:
        for one in found:
            click.echo(f"{one.level.upper():<8} {one.about}: {clean(door.words(one.what))}")
            if one.remedy:
                click.echo(f"{'':<8} → {clean(door.words(one.remedy))}")
    if level == "problem":
        click.get_current_context().exit(NOT_AS_IT_SHOULD_BE)


@click.command("migrate")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--from-options",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON file with the source's STORE_OPTIONS.",
)
@click.option(
    "--to-options",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON file with the target's STORE_OPTIONS.",
)
@yes_option
@json_option
@with_door
@explained
def migrate_command(
    door: Door,
    source: str,
    target: str,
    from_options: str | None,
    to_options: str | None,
    yes: bool,
    json_too: bool,
) -> None:
    """Move everything from the store FROM into the empty store TO. Nobody is logged out.

    Most is copied while the app runs. Then FROM is sealed: until the nodes are restarted with
    STORE set to TO, requests get a 503 and keep their cookies. TO is opened once no node of FROM
    can accept a token any more. If it is interrupted, repeat it with the same words.

    \b
    Example:
      flask tokens migrate directory:///var/lib/app/shared zookeeper://zk1:2181,zk2:2181/app
    """
    old = door.store(source, read_options(from_options), "the store FROM")
    with old, door.store(target, read_options(to_options), "the store TO") as new:
        # (In TO it would end with this process, and FROM would be sealed all the same.)
        check_shared(old, "the store FROM")
        check_shared(new, "the store TO")
        door.check_begun(old, "FROM")
        be_sure(f"Move realm {door.settings.realm} to {target} and seal {source}?", yes)
        accepting = ", ".join(clean(node.name) for node in never_certain(old))
        if accepting:
            click.echo(
                f"WARNING: {accepting} accept tokens while stale (WHEN_STALE): the seal does not "
                "stop them. Until you stop them they accept what is revoked in the new store.",
                err=True,
            )
            be_sure("Move all the same?", yes)
        way = f"{old.url} to {new.url}"
        try:
            with _bar(json_too) as progress:
                done = migrate(
                    old, new, progress, clock=door.clock, whatever_accepts=bool(accepting)
                )
        except BaseException as error:
            # (Also at Ctrl-C: it may have sealed the one and not opened the other.)
            door.note(old, "migrated", "failed", f"{way}: {str(error) or type(error).__name__}")
            raise
        door.note(new, "migrated", "repeated" if done.repeated else "done", way)
    if json_too:
        as_json(_migration_facts(done))
        return
    if done.repeated:
        click.echo("It had been finished before; nothing was left to do.")
    else:
        moved = ", ".join(f"{count} {area}" for area, count in sorted(done.records.items()))
        entries = several(done.entries, "entry", "entries")
        click.echo(f"Moved {moved or 'no records'}; {entries} of the feed.")
    click.echo(f"Set CLUSTERTOKEN_STORE to {clean(done.target)} on every host, and restart.")


def _migration_facts(done: Migration) -> dict[str, Any]:
    return {
        "source": done.source,
        "target": done.target,
        "records": dict(done.records),
        "entries": done.entries,
        "head": done.head,
        "repeated": done.repeated,
    }


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress]:
    """A progress bar on stderr; each new part of the work on a line where that is no terminal."""
    if quiet:
        yield lambda *_: None
        return
    if not sys.stderr.isatty():
        said: list[str] = []

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in said:
                said.append(what)
                click.echo(f"{what} …", err=True)

        yield tell
        return
    line = ProgressLine()
    try:
        yield lambda what, done, total: line.say(drawn(what, done, total))
    finally:
        line.end()
