"""Commands on shared files: what there is, and one of them in or out."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

import click

from ...audit import AuditTrail
from ...shared import FileInfo, SharedFile, every_file
from ..context import Door, explained, with_door
from ..exit_codes import Failure
from ..options import be_sure, json_option, yes_option
from ..output import InOrder, as_json, moment, read_as_far_as_wanted, table
from ..values import Duration
from ..waiting import ProgressLine, drawn

#: Bytes that are written at once.
_BLOCK = 256 * 1024


def file_facts(name: str, info: FileInfo) -> dict[str, Any]:
    return {
        "name": name,
        "key": info.key,
        "size": info.size,
        "sha256": info.sha256,
        "content_type": info.content_type,
        "stored_at": info.stored_at,
    }


@click.group("files", cls=InOrder)
def files_group() -> None:
    """Files that all servers share: tokens.files(NAME) in the app.

    \b
    Example:
      flask tokens files list fonts
    """


@files_group.command("list")
@click.argument("name", required=False)
@json_option
@with_door
@explained
def files_list(door: Door, name: str | None, json_too: bool) -> None:
    """List the files under NAME, or all of the deployment.

    \b
    Examples:
      flask tokens files list
      flask tokens files list fonts --json
    """
    with door.authority() as authority:
        deployment = door.settings.deployment
        found = (
            [(name, info) for info in authority.files(name).infos()]
            if name is not None
            else list(every_file(authority.store, deployment))
        )
    if json_too:
        as_json({"files": [file_facts(one, info) for one, info in found]})
        return
    rows = [
        (one, info.key, f"{info.size:,}", info.content_type, moment(info.stored_at))
        for one, info in found
    ]
    heads = ("NAME", "KEY", "BYTES", "TYPE", "STORED")
    table(heads, rows, "No files.", ("NAME", "KEY", "TYPE"))


@files_group.command("put")
@click.argument("name")
@click.argument("key")
@click.argument("source", type=click.File("rb"))
@click.option("--type", "content_type", help="Its content type, such as font/woff2; else guessed.")
@click.option("--ttl", type=Duration(), help="When it ends by itself, such as 30d.")
@json_option
@with_door
@explained
def files_put(
    door: Door,
    name: str,
    key: str,
    source: BinaryIO,
    content_type: str | None,
    ttl: float | None,
    json_too: bool,
) -> None:
    """Store the file SOURCE (- for stdin) as KEY under NAME, in the place of what was there.

    Until all of it is there every server goes on with the old one. Whatever is in the way (a
    limit, the network, Ctrl-C), the old one stays.

    \b
    Examples:
      flask tokens files put fonts corporate.woff2 ./corporate.woff2
      tar cz icons | flask tokens files put bundles icons.tgz - --type application/gzip
    """
    size = _size(source)
    with door.authority() as authority:
        line = ProgressLine()
        try:
            info = authority.files(name).put(
                key,
                source,
                content_type,
                ttl,
                progress=lambda done: line.say(drawn(f"storing {key}", done, size)),
            )
        finally:
            line.end()
        AuditTrail.of(authority).note("file_stored", detail=f"{name}: {key} ({info.sha256})")
    if json_too:
        as_json(file_facts(name, info))
    else:
        click.echo(
            f"Stored {key}: {info.size:,} bytes, {info.content_type}, SHA-256 {info.sha256}."
        )


def _size(source: BinaryIO) -> int | None:
    """How much is to come, if that is known."""
    try:
        return os.fstat(source.fileno()).st_size or None
    except (OSError, ValueError, AttributeError):
        return None


@files_group.command("get")
@click.argument("name")
@click.argument("key")
@click.argument("target", type=click.Path(dir_okay=False, allow_dash=True))
@json_option
@with_door
@explained
def files_get(door: Door, name: str, key: str, target: str, json_too: bool) -> None:
    """Write the file KEY under NAME to TARGET (- for stdout).

    Each piece is checked before it is written; TARGET is there once all of it is.

    \b
    Examples:
      flask tokens files get fonts corporate.woff2 ./corporate.woff2
      flask tokens files get bundles icons.tgz - | tar tz
    """
    if json_too and target == "-":
        raise click.UsageError("stdout holds either the file or JSON; name a file to write to")
    with door.authority() as authority:
        try:
            opened = authority.files(name).open(key)
        except FileNotFoundError as error:
            raise Failure(_absent(name, key)) from error
        info, line = opened.info, ProgressLine()

        def progress(done: int) -> None:
            line.say(drawn(f"reading {key}", done, info.size))

        try:
            if target == "-":
                with read_as_far_as_wanted():
                    _copy(opened, sys.stdout.buffer, progress)
            else:
                _write(opened, Path(target), progress)
        finally:
            line.end()
    if json_too:
        as_json({**file_facts(name, info), "target": target})
    elif target != "-":
        click.echo(f"Wrote {info.size:,} bytes to {target}.")


def _copy(opened: SharedFile, target: IO[bytes], progress: Callable[[int], None]) -> None:
    done = 0
    while some := opened.read(_BLOCK):
        target.write(some)
        done += len(some)
        progress(done)
    target.flush()


def _write(opened: SharedFile, target: Path, progress: Callable[[int], None]) -> None:
    """Under another name first: half a file is never found under *target*."""
    try:
        # (The rights that a new file has here; the one beside it would be for its owner alone.)
        mask = os.umask(0)
        os.umask(mask)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as beside:
            try:
                _copy(opened, beside.file, progress)
                os.chmod(beside.name, 0o666 & ~mask)
                os.replace(beside.name, target)
            except BaseException:
                os.unlink(beside.name)
                raise
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}.") from error


@files_group.command("delete")
@click.argument("name")
@click.argument("key")
@yes_option
@json_option
@with_door
@explained
def files_delete(door: Door, name: str, key: str, yes: bool, json_too: bool) -> None:
    """Delete the file KEY under NAME, on every server. Asks first.

    \b
    Example:
      flask tokens files delete fonts corporate.woff2 --yes
    """
    be_sure(f"Delete the file {key} under {name}?", yes)
    with door.authority() as authority:
        if not authority.files(name).delete(key):
            raise Failure(_absent(name, key))
        AuditTrail.of(authority).note("file_deleted", detail=f"{name}: {key}")
    if json_too:
        as_json({"deleted": {"name": name, "key": key}})
    else:
        click.echo(f"Deleted {key}.")


def _absent(name: str, key: str) -> str:
    return f"There is no file {key} under {name}; 'files list' shows those that there are."
