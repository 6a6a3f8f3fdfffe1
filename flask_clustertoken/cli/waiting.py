"""Waiting: what came of a revocation, said while it happens and truly at the end."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import click

from ..authority import TokenAuthority
from ..cluster import Confirmation, Node, Revocation
from .exit_codes import NOT_AS_IT_SHOULD_BE
from .output import as_json, clean, several, span

MOST_NAMES = 5

#: Characters of a progress bar.
BAR = 20


def _names(nodes: list[Node]) -> str:
    names = [clean(node.name) for node in nodes]
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def progress_line(state: Confirmation) -> str:
    """One line: how many answered, who has not, and when it is certain at the latest."""
    total = len(state.answered) + len(state.silent)
    line = f"{len(state.answered)} of {total} nodes"
    if not state.silent:
        return line
    line += f"; waiting for {_names([one.node for one in state.silent])}"
    certain = state.certain_in
    return line + (
        "; never certain" if certain is None else f"; certain in {span(certain)} at the latest"
    )


def drawn(what: str, done: int, total: int | None) -> str:
    """How far *what* has come: a bar where it is known how much there is."""
    if not total:
        return f"{what}: {done:,}"
    share = min(1.0, done / total)
    full = int(share * BAR)
    return f"{what}: [{'#' * full}{'.' * (BAR - full)}] {share:.0%}, {done:,} of {total:,}"


class ProgressLine:
    """The state on one line of stderr that is rewritten; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self._on:
            width = shutil.get_terminal_size().columns - 1
            click.echo("\r\033[K" + text[:width], err=True, nl=False)

    def end(self) -> None:
        if self._on:
            click.echo("\r\033[K", err=True, nl=False)


def confirmation_facts(state: Confirmation) -> dict[str, Any]:
    return {
        "in_force": state.in_force,
        "elapsed": round(state.elapsed, 4),
        "certain_in": state.certain_in,
        "answered": [
            {
                "node": one.node.id,
                "name": one.node.name,
                "after": round(one.after, 4),
                "by_silence": one.by_silence,
            }
            for one in state.answered
        ],
        "silent": [
            {"node": one.node.id, "name": one.node.name, "certain_in": one.certain_in}
            for one in state.silent
        ],
        "missing_hosts": list(state.missing),
        "reservation": state.reservation,
    }


def outcome(state: Confirmation, embedded: bool, timeout: float) -> list[str]:
    """What may be said at the end, and not a word more."""
    if embedded:
        return ["In force on this host, for every request from now on."]
    lines = []
    if state.in_force:
        answered = [one for one in state.answered if not one.by_silence]
        gone = [one.node for one in state.answered if one.by_silence]
        if state.answered:
            nodes = several(len(answered), "node")
            lines.append(
                f"In force on all {nodes} after {state.elapsed:.2f} s."
                if not gone
                else f"In force after {state.elapsed:.2f} s: {nodes} answered; "
                f"{_names(gone)} did not, and can accept nothing any more."
            )
        else:
            lines.append("No node is running; whoever starts learns of it first.")
    else:
        lines.append(
            f"NOT confirmed within {span(timeout)}: {len(state.answered)} of "
            f"{len(state.answered) + len(state.silent)} nodes have it."
        )
        for one in state.silent:
            end = (
                "accepts tokens while stale (WHEN_STALE), so it is never certain"
                if one.certain_in is None
                else f"cannot accept it any more in {span(one.certain_in)}, whatever happens"
            )
            lines.append(f"{clean(one.node.name)} has not answered: it {end}.")
    if state.missing:
        lines.append(
            f"Expected and absent: {clean(', '.join(state.missing))} (no node of theirs is listed, "
            "and one without an entry accepts nothing)."
        )
    if state.reservation:
        lines.append(f"But: {clean(state.reservation)} ('doctor' says how to mend it).")
    return lines


def report(
    authority: TokenAuthority,
    revocation: Revocation,
    what: str,
    *,
    wait: bool,
    timeout: float,
    json_too: bool,
    also: dict[str, Any] | None = None,
) -> None:
    """Say what was done; with *wait*, also what came of it. Ends with 1 if not confirmed."""
    facts: dict[str, Any] = {"seq": revocation.seq, "confirmation": None, **(also or {})}
    embedded = authority.store.embedded
    state: Confirmation | None = None
    if wait:
        line = ProgressLine()
        try:
            state = revocation.confirm(timeout, lambda now: line.say(progress_line(now)))
        finally:
            line.end()
        facts["confirmation"] = confirmation_facts(state)
    if json_too:
        as_json(facts)
    else:
        click.echo(f"{what} (number {revocation.seq}).")
        if state is not None:
            for sentence in outcome(state, embedded, timeout):
                click.echo(sentence)
        elif embedded:
            click.echo("In force on this host, for every request from now on.")
        else:
            click.echo("The store has it; with --wait you see when every node has applied it.")
    if state is not None and not state.in_force:
        click.get_current_context().exit(NOT_AS_IT_SHOULD_BE)
