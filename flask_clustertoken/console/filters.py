"""Filters: which tokens an address of the console means, and the address that means them."""

from __future__ import annotations

from dataclasses import replace

from werkzeug.datastructures import MultiDict

from ..authority import AT_ONCE, BOTH, TokenFilter
from ..tokens import Token, TokenKind, WrongArgument, is_id, validation

#: What says which tokens are meant, and what a form may say besides.
FILTER = frozenset({"subject", "prefix", "label", "kind", "key", "id", "ticked", "everybody"})
BESIDES = frozenset({"own", "after", "counted", "again"})


def filter_in(values: MultiDict[str, str], me: Token) -> TokenFilter:
    """The filter that *values* say: of a page's address, or of a form.

    *me* is the login that asks: it is spared, unless ``own`` is ticked. Raises
    :class:`~flask_clustertoken.tokens.WrongArgument` for what no filter says.
    """
    asked = values.getlist("kind")
    if not set(asked) <= set(BOTH):
        raise WrongArgument("a kind of token is login or api")
    kinds: tuple[TokenKind, ...] = tuple(one for one in BOTH if one in asked)
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


def filter_to_end(form: MultiDict[str, str], args: MultiDict[str, str], me: Token) -> TokenFilter:
    """The filter that a *form* says whose tokens are to end; *args* are those of its address.

    Those of everybody only where it says ``everybody=1``: what could not be read, was mistyped or
    stands in the address must not mean that. Raises
    :class:`~flask_clustertoken.tokens.WrongArgument`.
    """
    for name in form:
        # (An app's protection of its forms has a field of its own, whatever it is called there.)
        if name not in FILTER | BESIDES and "csrf" not in name.lower():
            raise WrongArgument(f"nothing ended: no field of this form is called {name[:40]!r}")
    if FILTER & set(args):
        raise WrongArgument("nothing ended: what is to end has to stand in the form")
    wanted = filter_in(form, me)
    if (wanted.mark == "everybody") != (form.get("everybody") == "1"):
        raise WrongArgument(
            "nothing ended: the form has to say whose tokens are to end, or everybody, and not both"
        )
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
