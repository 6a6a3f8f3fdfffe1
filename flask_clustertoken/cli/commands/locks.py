"""The commands on locks: who may not come back in, until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ...authority import StandingLock
from ...tokens import TokenKind
from ..context import Door, explained, with_door
from ..exit_codes import Failure
from ..options import be_sure, json_option, wait_options, yes_option
from ..output import as_json, clean, moment, table
from ..values import When
from ..waiting import report


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--subject``, ``--label``, ``--kind`` and ``--everyone``: one of them."""
    for option in (
        click.option("--everyone", is_flag=True, help="Everybody, with whatever token."),
        click.option("--kind", type=click.Choice(["login", "api"]), help="All of this kind."),
        click.option("--label", help="Whoever's login has this label."),
        click.option("--subject", "-s", help="This subject, with whatever token."),
    ):
        command = option(command)
    return command


def _named(
    subject: str | None, label: str | None, kind: TokenKind | None, everyone: bool
) -> tuple[dict[str, Any], str]:
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("subject", subject),
            ("label", label),
            ("kind", kind),
            ("everyone", everyone or None),
        )
        if value is not None
    }
    if len(given) != 1:
        raise click.UsageError("give one of --subject, --label, --kind and --everyone")
    ((what, name),) = given.items()
    if what == "kind":
        return given, f"every {name} token"
    return given, "everyone" if what == "everyone" else f"{what} {clean(name)}"


def lock_facts(lock: StandingLock) -> dict[str, Any]:
    """A lock as JSON; times are in seconds since 1970."""
    return {
        "what": lock.what,
        "name": lock.name,
        "seq": lock.seq,
        "since": lock.since,
        "until": lock.until,
        "message": lock.message,
        "except_labels": list(lock.except_labels),
    }


@click.command("lock")
@target_options
@click.option("--until", type=When(), help="When it ends by itself; else it stands until unlock.")
@click.option("--message", default="", help="What whoever is refused may read.")
@click.option("--except-label", multiple=True, help="Spare whose login has this label.")
@yes_option
@wait_options
@json_option
@with_door
@explained
def lock_command(
    door: Door,
    subject: str | None,
    label: str | None,
    kind: TokenKind | None,
    everyone: bool,
    until: float | None,
    message: str,
    except_label: tuple[str, ...],
    yes: bool,
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """Lock out a subject, a label, a kind of token or everyone: what is there, and what is new.

    Their logins end for good. New logins, renewals, API tokens and a provider's bearer tokens are
    refused with the message while the lock stands. --until is ISO 8601 with its zone (Z, or a
    difference such as +02:00), or seconds since 1970. Asks first where it locks more than one
    subject or label.

    \b
    Examples:
      flask tokens lock --subject alice --message "Please call the office." --wait
      flask tokens lock --everyone --except-label role:admin --until 2026-05-01T18:00:00Z
    """
    target, what = _named(subject, label, kind, everyone)
    if kind is not None or everyone:
        be_sure(f"Lock {what} in realm {door.settings.realm}?", yes)
    with door.authority() as authority:
        receipt = authority.locking.lock(
            **target, until=until, message=message, except_labels=except_label
        )
        report(
            authority,
            receipt,
            f"Locked {what}, " + (f"until {moment(until)}" if until else "until it is unlocked"),
            wait=wait,
            timeout=timeout,
            json_too=json_too,
            also={"locked": target, "until": until},
        )


@click.command("unlock")
@target_options
@wait_options
@json_option
@with_door
@explained
def unlock_command(
    door: Door,
    subject: str | None,
    label: str | None,
    kind: TokenKind | None,
    everyone: bool,
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """Take a lock away, named as it was set. Logins that it has ended stay ended.

    \b
    Examples:
      flask tokens unlock --subject alice
      flask tokens unlock --everyone --wait
    """
    target, what = _named(subject, label, kind, everyone)
    ((field, name),) = target.items()
    with door.authority() as authority:
        wanted = (field, "" if field == "everyone" else name)
        if all((one.what, one.name) != wanted for one in authority.locking.locks()):
            raise Failure(f"No lock stands on {what}; 'locks' shows those that do.")
        report(
            authority,
            authority.locking.unlock(**target),
            f"Unlocked {what}",
            wait=wait,
            timeout=timeout,
            json_too=json_too,
            also={"unlocked": target},
        )


@click.command("locks")
@json_option
@with_door
@explained
def locks_command(door: Door, json_too: bool) -> None:
    """List the locks that stand, the oldest first.

    \b
    Example:
      flask tokens locks --json
    """
    with door.authority() as authority:
        locks = authority.locking.locks()
    if json_too:
        as_json({"locks": [lock_facts(one) for one in locks]})
        return
    heads = ("LOCKED", "NAME", "SINCE", "UNTIL", "EXCEPT", "MESSAGE")
    rows = (
        (
            one.what,
            one.name,
            moment(one.since),
            moment(one.until, "unlocked"),
            ", ".join(one.except_labels),
            one.message,
        )
        for one in locks
    )
    table(heads, rows, "No locks.", ("NAME", "EXCEPT", "MESSAGE"))
