"""Values: how times, durations, kinds and ids are written on the command line."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..tokens import TokenKind, WrongArgument, is_id, validation

if TYPE_CHECKING:
    _Param = click.ParamType[Any]
else:
    # Not generic at run time before click 8.2.
    _Param = click.ParamType

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class When(_Param):
    """A moment: ISO 8601 with its zone, or seconds since 1970."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = self._read(value, param, ctx)
        try:
            return validation.moment(found, repr(value))
        except WrongArgument as error:
            self.fail(str(error), param, ctx)

    def _read(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | datetime:
        with suppress(ValueError):
            return float(value)
        try:
            moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError:
            self.fail("write it like 2026-05-01T12:00:00Z, or as seconds since 1970", param, ctx)
        if moment.tzinfo is None:
            self.fail(
                f"{value!r} names no time zone, and this machine's may be another one than yours; "
                "put Z behind it for UTC, or the difference, as in 2026-05-01T12:00:00+02:00",
                param,
                ctx,
            )
        return moment


class Duration(_Param):
    """Seconds, or a number with a unit: ``90d``, ``12h``, ``30m``, ``2w``."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", value)
        if match is None or not float(match[1]):
            self.fail("write it like 90d, 12h, 30m or 45 (seconds)", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class Kinds(_Param):
    """``login``, ``api`` or both with a comma."""

    name = "kinds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[TokenKind, ...]:
        if isinstance(value, tuple):
            return value
        found: list[TokenKind] = []
        for one in value.split(","):
            if one == "login":
                found.append("login")
            elif one == "api":
                found.append("api")
            else:
                self.fail("write login, api, or login,api", param, ctx)
        return tuple(dict.fromkeys(found))


class TokenId(_Param):
    """A token's id. What is not one is never repeated: it may be the token itself."""

    name = "token_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_id(value):
            self.fail(
                "this is not the id of a token (24 characters, as 'list' shows them); the text of "
                "a token is never needed here",
                param,
                ctx,
            )
        return str(value)
