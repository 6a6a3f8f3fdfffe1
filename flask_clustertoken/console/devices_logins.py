"""Logins: those of the current user, as their page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flask import request

from ..extension import current_state, require_token
from ..tokens import Token
from ..wsgi import device_of

#: Lines of a page.
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class LoginList:
    """A page of the living logins: *mine* is the one that asks, which stands on the first page.

    *recorded* ``False``: the others are not known (``TOKEN_STORE="cookie"``); they can all be
    ended all the same. *apart*: seconds within which a use is not noted again.
    """

    mine: Token
    others: Sequence[Token]
    recorded: bool
    count: int
    page: int
    pages: int
    apart: float

    @classmethod
    def of_current_user(cls, page: int) -> LoginList:
        """Reads the store: the part of it where this user's records lie.

        Raises :class:`~flask_clustertoken.errors.StoreError`.
        """
        state, mine = current_state(), require_token()
        found = [one for one in state.authority.tokens_of(mine.subject) if one.kind == "login"]
        here = next((one for one in found if one.id == mine.id), None)
        if here is None:
            # Not recorded: what this very request says of its device.
            here = replace(mine, device=mine.device or device_of(request.environ))
        others = sorted((one for one in found if one.id != mine.id), key=_last, reverse=True)
        pages = max(1, -(-len(others) // AT_ONCE))
        page = min(page, pages)
        return cls(
            mine=here,
            others=others[(page - 1) * AT_ONCE : page * AT_ONCE],
            recorded=state.authority.records_logins,
            count=len(others),
            page=page,
            pages=pages,
            apart=float(state.settings.renew_after),
        )


def _last(login: Token) -> tuple[int, int, str]:
    return login.renewed_at or login.issued_at, login.issued_at, login.id
