"""The command on the audit trail: who did what to whom, as far as the store keeps it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

import click

from ...audit import AuditLine, KeptAudit
from ..context import Door, explained, with_door
from ..options import check_page, json_option, page_options
from ..output import as_json, read_as_far_as_wanted, table


def _whom(line: AuditLine) -> str:
    named = [*line.subjects, *line.labels] or [*line.token_ids]
    shown = ", ".join(named) or line.detail
    return f"{shown} and {line.count - len(named)} more" if line.count else shown


def _who(line: AuditLine) -> str:
    return line.operator or line.actor or line.by


@click.command("audit")
@click.option("--subject", "-s", help="Only what this subject did, or what was done to it.")
@click.option("--event", help="Only this event: login, logout, revoked_subject, locked …")
@page_options
@json_option
@with_door
@explained
def audit_command(
    door: Door, subject: str | None, event: str | None, limit: int, page: int, json_too: bool
) -> None:
    """Show the audit trail, the newest first: who did what to whom.

    The store keeps it where the app sets AUDIT to "store": 90 days, at most 100,000 lines, each
    some seconds after it happened. The logger flask_clustertoken.audit has all of it.

    \b
    Examples:
      flask tokens audit --subject alice
      flask tokens audit --event locked --limit 0 --json
    """
    check_page(limit, page)

    def wanted(line: AuditLine) -> bool:
        if event is not None and line.event != event:
            return False
        return subject is None or subject == line.actor or subject in line.subjects

    with door.authority() as authority:
        found = KeptAudit(authority.store, authority.clock).newest(wanted)
        start = (page - 1) * limit
        lines = list(islice(found, start, start + limit + 1) if limit else found)
    more = bool(limit) and len(lines) > limit
    lines = lines[:limit] if limit else lines
    kept = door.settings.audit == "store"
    if json_too:
        with read_as_far_as_wanted():
            as_json({"lines": [asdict(one) for one in lines], "more": more, "kept": kept})
        return
    rows = (
        (one.time, one.event, _who(one), _whom(one), one.network, one.node, one.seq or "")
        for one in lines
    )
    heads = ("TIME", "EVENT", "BY", "WHOM", "FROM", "NODE", "NUMBER")
    table(heads, rows, "Nothing is kept.", ("WHOM", "BY", "NODE"))
    if more:
        click.echo(
            f"There are more: --limit {limit} --page {page + 1}, or --limit 0 for all.", err=True
        )
    if not kept:
        click.echo("AUDIT is log: the store keeps nothing new of it.", err=True)
