"""Filters: which tokens an address of the console means, and the address that means them."""

from __future__ import annotations

from dataclasses import replace

from werkzeug.datastructures import MultiDict

from ..authority import AT_ONCE, BOTH, TokenFilter
from ..tokens import Token, TokenKind, WrongArgument, is_id, validation


def filter_in(values: MultiDict[str, str], me: Token) -> TokenFilter:
    """The filter that *values* say: of a page's address, or of a form.

    *me* is the login that asks: it is spared, unless ``own`` is ticked. Raises
    :class:`~flask_clustertoken.tokens.WrongArgument` for what no filter says.
    """
    kinds: tuple[TokenKind, ...] = tuple(one for one in BOTH if one in values.getlist("kind"))
    wanted = TokenFilter(
        subject=_text(values, "subject", "a subject"),
        prefix=_text(values, "prefix", "the beginning of a subject"),
        label=_text(values, "label", "a label"),
        kinds=kinds or BOTH,
        key_id=_text(values, "key", "a key's fingerprint"),
        ids=_ids(values),
    )
    # (By whatever key: a login's record names the one of its issue, and its cookie the last one.)
    if "own" not in values and replace(wanted, key_id="").matches(me):
        return replace(wanted, spared=(me.id,))
    return wanted


def args_of(wanted: TokenFilter, **more: str) -> dict[str, str | list[str]]:
    """What :func:`filter_in` reads again as *wanted*, for ``url_for`` and hidden fields."""
    found: dict[str, str | list[str]] = {
        "subject": wanted.subject,
        "prefix": wanted.prefix,
        "label": wanted.label,
        "kind": [] if wanted.kinds == BOTH else list(wanted.kinds),
        "key": wanted.key_id,
    }
    if wanted.ids is not None:
        found |= {"id": list(wanted.ids), "ticked": "1"}
    return {name: value for name, value in {**found, **more}.items() if value}


def _text(values: MultiDict[str, str], name: str, what: str) -> str:
    value = values.get(name, "")
    return validation.text(value, what) if value else ""


def _ids(values: MultiDict[str, str]) -> tuple[str, ...] | None:
    ids = tuple(dict.fromkeys(values.getlist("id")))
    if not ids and "ticked" not in values:
        return None
    if len(ids) > AT_ONCE or not all(map(is_id, ids)):
        raise WrongArgument(f"up to {AT_ONCE} ids of tokens can be ticked")
    return ids
