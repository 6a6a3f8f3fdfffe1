"""Asking before what cannot be taken back, and the options that many commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from .values import Duration, Kinds

#: A page's number, and what is on one, at most: the place of the last one on it is still a number
#: that Python can skip to.
LONGEST = 10**9

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option(
    "--json", "json_too", is_flag=True, help="JSON for programs on stdout, and nothing else."
)
yes_option: Decorator = click.option("--yes", is_flag=True, help="Do not ask first.")
kinds_option: Decorator = click.option(
    "--kinds",
    type=Kinds(),
    default="login",
    show_default=True,
    help="Which tokens end: login, api, or login,api.",
)


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--wait`` and ``--timeout``."""
    command = click.option(
        "--timeout",
        type=Duration(),
        default="15s",
        show_default=True,
        help="How long --wait waits.",
    )(command)
    return click.option(
        "--wait", is_flag=True, help="Wait until every node has answered; 1 if one has not in time."
    )(command)


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--limit`` and ``--page`` of a long list; :func:`check_page` says whether they fit."""
    command = click.option(
        "--page", type=click.IntRange(1, LONGEST), default=1, help="Which page of so many."
    )(command)
    return click.option(
        "--limit",
        type=click.IntRange(0, LONGEST),
        default=100,
        show_default=True,
        help="At most so many; 0 for all.",
    )(command)


def check_page(limit: int, page: int) -> None:
    """An error where all is asked for, and a part of it as well."""
    if page > 1 and not limit:
        raise click.UsageError("--page says which part of --limit; with --limit 0 there is one")


def be_sure(question: str, yes: bool) -> None:
    """Ask on the terminal unless *yes*. Without a terminal nobody can answer: that is an error."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this asks first, and there is no terminal to ask on; add --yes")
    click.confirm(question, abort=True, err=True)
