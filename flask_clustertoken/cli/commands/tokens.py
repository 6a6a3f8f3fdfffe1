"""The commands on tokens: list, show, issue, end."""

from __future__ import annotations

from itertools import islice

import click

from ...authority import TokenAuthority
from ...errors import ConfigurationError
from ...settings import PREFIX
from ...tokens import Token, TokenKind
from ..context import Door, explained, with_door
from ..exit_codes import Failure
from ..options import (
    be_sure,
    check_page,
    json_option,
    kinds_option,
    page_options,
    wait_options,
    yes_option,
)
from ..output import (
    as_json,
    clean,
    facts,
    kind_of,
    login_lines,
    moment,
    read_as_far_as_wanted,
    several,
    table,
    token_facts,
)
from ..values import Duration, TokenId, When
from ..waiting import report

#: Token ids that one step ends.
AT_ONCE = 100

#: One id in 64 begins with a dash, and is no option.
MAY_BEGIN_WITH_A_DASH = {"ignore_unknown_options": True}


@click.command("list")
@click.option("--subject", "-s", help="Only the tokens of this subject.")
@click.option("--kind", type=click.Choice(["login", "api"]), help="Only tokens of this kind.")
@page_options
@json_option
@with_door
@explained
def list_command(
    door: Door, subject: str | None, kind: TokenKind | None, limit: int, page: int, json_too: bool
) -> None:
    """List live tokens. Their texts are nowhere; ids are enough to end them.

    With the token store "cookie" logins are not recorded: only API tokens are listed. A login
    lives at least until what EXPIRES says, or longer where it was renewed since.

    \b
    Examples:
      flask tokens list --subject alice
      flask tokens list --kind api --limit 0 --json
    """
    check_page(limit, page)
    with door.authority() as authority:
        found = authority.tokens_of(subject) if subject is not None else authority.tokens()
        wanted = (one for one in found if kind is None or one.kind == kind)
        start = (page - 1) * limit
        tokens = list(islice(wanted, start, start + limit + 1) if limit else wanted)
        more = bool(limit) and len(tokens) > limit
        tokens = tokens[:limit] if limit else tokens
        # Whoever is in the list was recorded, whatever this command was told.
        recorded = authority.records_logins or any(one.kind == "login" for one in tokens)
    if json_too:
        listed = [token_facts(one) for one in tokens]
        with read_as_far_as_wanted():
            as_json({"tokens": listed, "recorded": recorded, "more": more})
        return
    heads = ("ID", "KIND", "SUBJECT", "NAME", "ISSUED", "EXPIRES")
    may_be_cut = ("SUBJECT", "NAME")
    rows = (
        (
            *(one.id, kind_of(one), one.subject, one.name or one.device),
            *(moment(one.issued_at), moment(one.expires_at)),
        )
        for one in tokens
    )
    table(heads, rows, "No tokens.", may_be_cut)
    if more:
        click.echo(
            f"There are more: --limit {limit} --page {page + 1}, or --limit 0 for all.", err=True
        )
    if not recorded:
        click.echo("Logins are not recorded (TOKEN_STORE is cookie): API tokens only.", err=True)


def _expires(token: Token) -> str:
    shown = moment(token.expires_at)
    # (A renewal that finds enough of its record left tells the store nothing.)
    return f"{shown}, or later if it was renewed since" if token.kind == "login" else shown


@click.command("show", context_settings=MAY_BEGIN_WITH_A_DASH)
@click.argument("token_id", type=TokenId())
@json_option
@with_door
@explained
def show_command(door: Door, token_id: str, json_too: bool) -> None:
    """Show one live token, by its id.

    \b
    Example:
      flask tokens show AbC-123_xyzAbC-123_xyz12
    """
    with door.authority() as authority:
        token = authority.token(token_id)
        if token is None:
            why = "" if authority.records_logins else ", or a login, which is not recorded here"
            raise Failure(f"No live token has this id: it is over, was ended, never was{why}.")
        used = authority.last_used(token_id) if token.kind == "api" else None
    if json_too:
        as_json({"token": {**token_facts(token), "claims": token.claims, "last_used": used}})
        return
    lines: list[tuple[str, object]] = [
        ("id", token.id),
        ("kind", kind_of(token)),
        ("subject", token.subject),
        ("issued", moment(token.issued_at)),
        ("authenticated", moment(token.authenticated_at)),
        ("expires", _expires(token)),
        ("labels", ", ".join(token.labels) or "none"),
    ]
    if token.kind == "api":
        lines += [
            ("name", token.name),
            ("scopes", " ".join(token.scopes) or "none"),
            ("created by", token.created_by),
            ("last used", moment(used, "not known")),
            ("key", token.key_id),
        ]
    else:
        lines += login_lines(token)
    facts(lines)


@click.command("revoke", context_settings=MAY_BEGIN_WITH_A_DASH)
@click.argument("token_ids", type=TokenId(), nargs=-1, required=True, metavar="TOKEN_ID...")
@wait_options
@json_option
@with_door
@explained
def revoke_command(
    door: Door, token_ids: tuple[str, ...], wait: bool, timeout: float, json_too: bool
) -> None:
    """End these tokens, on every node.

    An id without a record is ended all the same: logins need not be recorded.

    \b
    Example:
      flask tokens revoke AbC-123_xyzAbC-123_xyz12 --wait
    """
    with door.authority() as authority:
        ids = list(dict.fromkeys(token_ids))
        known = sum(authority.token(one) is not None for one in ids)
        for start in range(0, len(ids), AT_ONCE):
            revocation = authority.revoke_ids(ids[start : start + AT_ONCE])
        what = f"Ended {several(len(ids), 'token')}"
        if known < len(ids):
            what += f", {len(ids) - known} of them without a live record"
        report(
            authority,
            revocation,
            what,
            wait=wait,
            timeout=timeout,
            json_too=json_too,
            also={"tokens": len(ids), "with_record": known},
        )


@click.command("revoke-label")
@click.argument("label")
@wait_options
@json_option
@with_door
@explained
def revoke_label_command(
    door: Door, label: str, wait: bool, timeout: float, json_too: bool
) -> None:
    """End every token with LABEL, also one that is issued later with it.

    A label is given at login: a provider's session id, for example.

    \b
    Example:
      flask tokens revoke-label keycloak:5f1c… --wait
    """
    with door.authority() as authority:
        what = f"Ended every token with the label {clean(label)}"
        report(
            authority,
            authority.revoke_labels([label]),
            what,
            wait=wait,
            timeout=timeout,
            json_too=json_too,
        )


@click.command("revoke-subject")
@click.argument("subject")
@kinds_option
@wait_options
@json_option
@with_door
@explained
def revoke_subject_command(
    door: Door,
    subject: str,
    kinds: tuple[TokenKind, ...],
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """Log SUBJECT out everywhere. API tokens stay, unless --kinds says otherwise.

    \b
    Examples:
      flask tokens revoke-subject alice --wait
      flask tokens revoke-subject alice --kinds login,api
    """
    with door.authority() as authority:
        # Counted before they end: nobody's tokens look the same as a name that nobody has.
        count = sum(one.kind in kinds for one in authority.tokens_of(subject))
        what = f"Ended the {_and(kinds)} tokens of {clean(subject)}"
        if count:
            what += f", {count} of them on record"
        elif authority.records_logins or "login" not in kinds:
            what += ", who had none"
        else:
            what += ", whose logins are not recorded"
        report(
            authority,
            authority.revoke_subject(subject, kinds),
            what,
            wait=wait,
            timeout=timeout,
            json_too=json_too,
            also={"tokens": count, "recorded": authority.records_logins},
        )


@click.command("revoke-all")
@kinds_option
@yes_option
@wait_options
@json_option
@with_door
@explained
def revoke_all_command(
    door: Door,
    kinds: tuple[TokenKind, ...],
    yes: bool,
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """Log everybody in the realm out. Asks first.

    \b
    Examples:
      flask tokens revoke-all --wait
      flask tokens revoke-all --kinds login,api --yes
    """
    be_sure(f"End the {_and(kinds)} tokens of everybody in realm {door.settings.realm}?", yes)
    with door.authority() as authority:
        what = f"Ended the {_and(kinds)} tokens of everybody"
        report(
            authority,
            authority.revoke_all(kinds),
            what,
            wait=wait,
            timeout=timeout,
            json_too=json_too,
        )


@click.command("not-before")
@click.argument("when", type=When())
@kinds_option
@yes_option
@wait_options
@json_option
@with_door
@explained
def not_before_command(
    door: Door,
    when: float,
    kinds: tuple[TokenKind, ...],
    yes: bool,
    wait: bool,
    timeout: float,
    json_too: bool,
) -> None:
    """End every token issued before WHEN. It only ever rises, and cannot be taken back.

    WHEN is ISO 8601 with its zone (Z, or a difference such as +02:00), or seconds since 1970.
    Asks first where it lies in the future: nobody could sign in until then.

    \b
    Examples:
      flask tokens not-before 2026-05-01T12:00:00Z --wait
      flask tokens not-before 1777636800
    """
    if when > door.clock.time() + 1:
        be_sure(f"{moment(when)} is in the future: until then logins end at once. Go on?", yes)
    with door.authority() as authority:
        what = f"Ended every {_and(kinds)} token issued before {moment(when)}"
        report(
            authority,
            authority.not_before(when, kinds, ahead=True),
            what,
            wait=wait,
            timeout=timeout,
            json_too=json_too,
            also={"not_before": when},
        )


@click.command("issue-api")
@click.argument("subject")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="What it may do; repeat for several.")
@click.option("--lifetime", type=Duration(), help="90d, 12h, …; without it there is no end.")
@click.option("--created-by", default="", help="Who made it, for the list.")
@json_option
@with_door
@explained
def issue_api_command(
    door: Door,
    subject: str,
    name: str,
    scopes: tuple[str, ...],
    lifetime: float | None,
    created_by: str,
    json_too: bool,
) -> None:
    """Issue an API token for SUBJECT, called NAME. Its text is shown this once.

    The text alone goes to stdout, so that it can be piped into a secret store; it is kept
    nowhere. Lost, it is to be revoked and issued anew.

    \b
    Examples:
      flask tokens issue-api alice "nightly build" --scope read --lifetime 90d
      flask tokens issue-api ci deploy | vault kv put secret/ci token=-
    """
    with door.authority(keys=True) as authority:
        _check_that_it_will_be_accepted(authority)
        issued = authority.issue_api_token(
            subject, name, scopes, lifetime, created_by or "command line"
        )
    click.echo(
        f"API token {issued.token.id} of {clean(subject)}, expires: "
        f"{moment(issued.token.expires_at)}. This is the only time that its text is shown.",
        err=True,
    )
    if json_too:
        as_json({"token": token_facts(issued.token), "text": issued.text})
    else:
        click.echo(issued.text)


def _check_that_it_will_be_accepted(authority: TokenAuthority) -> None:
    """A text that no node accepts must not be handed out as if it were good."""
    authority.follower()
    live = [one.node for one in authority.nodes() if not one.silent]
    key_id = authority.keys.signing()[0]
    known = {*authority.keys.states, *(one for node in live for one in node.keys)}
    if live and key_id not in known:
        raise ConfigurationError(
            PREFIX + "SECRET_FILE",
            f"no node has key {key_id}, so that none would accept the token.",
            f"Copy the key file from {live[0].host}, where a node runs.",
        )
    ours = authority.settings.api_prefix
    others = {node.realm_settings.get("API_PREFIX", ours) for node in live} - {ours}
    if others:
        raise ConfigurationError(
            PREFIX + "API_PREFIX",
            f"it is {ours} here, and {min(others)} on a node, which would not know the token.",
            "Say what the nodes have.",
        )


def _and(kinds: tuple[TokenKind, ...]) -> str:
    return " and ".join("API" if one == "api" else one for one in kinds)
