"""API tokens: those of the current user, and the form that makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from werkzeug.datastructures import MultiDict

from ..authority import IssuedToken
from ..extension import ClusterToken, current_state, require_token
from ..tokens import Token
from .texts import N_

#: Lines of a page.
AT_ONCE = 50

#: Characters of a name and of a scope, and scopes of one token, that are taken from a form.
LONGEST_NAME = 80
LONGEST_SCOPE = 40
MOST_SCOPES = 20

DAY = 86_400

#: For how long an API token may be made, by what the form sends.
LIFETIMES: Mapping[str, tuple[int | None, str]] = {
    "": (None, N_("No end")),
    "30": (30 * DAY, N_("30 days")),
    "90": (90 * DAY, N_("90 days")),
    "365": (365 * DAY, N_("One year")),
}

NAME_WRONG = N_("An API token needs a name of at most 80 characters.")
SCOPES_WRONG = N_("Scopes are at most 20 words of at most 40 characters.")
LIFETIME_WRONG = N_("Choose how long it is to be good.")


@dataclass(frozen=True, slots=True)
class ListedToken:
    """An API token and when it was last used, to about an hour; ``None``: not known."""

    token: Token
    last_used: int | None


@dataclass(frozen=True, slots=True)
class TokenList:
    """A page of the living API tokens, the newest first."""

    tokens: Sequence[ListedToken]
    count: int
    page: int
    pages: int

    @classmethod
    def unknown(cls) -> TokenList:
        """Where the store cannot be asked."""
        return cls(tokens=(), count=0, page=1, pages=1)

    @classmethod
    def of_current_user(cls, page: int) -> TokenList:
        """Reads the store. Raises :class:`~flask_clustertoken.errors.StoreError`."""
        authority = current_state().authority
        found = [one for one in authority.tokens_of(require_token().subject) if one.kind == "api"]
        found.sort(key=lambda one: (one.issued_at, one.since, one.id), reverse=True)
        pages = max(1, -(-len(found) // AT_ONCE))
        page = min(page, pages)
        shown = found[(page - 1) * AT_ONCE : page * AT_ONCE]
        used = authority.last_uses([one.id for one in shown])
        listed = [ListedToken(one, used.get(one.id)) for one in shown]
        return cls(tokens=listed, count=len(found), page=page, pages=pages)


@dataclass(frozen=True, slots=True)
class TokenWish:
    """The API token that a form asks for."""

    name: str
    scopes: tuple[str, ...]
    lifetime: int | None

    def issue(self) -> IssuedToken:
        """Make it, for the current user and on the strength of the request's login."""
        return ClusterToken().issue_api_token(
            require_token().subject, self.name, self.scopes, self.lifetime
        )


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The form; *scopes* are those that it offers, ``None``: whoever fills it in names them."""

    scopes: Sequence[str] | None = None

    @property
    def lifetimes(self) -> Mapping[str, str]:
        """What can be chosen, in English."""
        return {key: text for key, (_, text) in LIFETIMES.items()}

    def read(self, form: MultiDict[str, str]) -> TokenWish | str:
        """What is wished for, or why that cannot be (in English)."""
        name = form.get("name", "").strip()
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            return NAME_WRONG
        scopes = tuple(dict.fromkeys(" ".join(form.getlist("scopes")).replace(",", " ").split()))
        if len(scopes) > MOST_SCOPES or any(
            len(one) > LONGEST_SCOPE or not one.isprintable() or set(one) & set('"\\')
            for one in scopes
        ):
            return SCOPES_WRONG
        if self.scopes is not None and not set(scopes) <= set(self.scopes):
            return SCOPES_WRONG
        chosen = form.get("lifetime", "")
        if chosen not in LIFETIMES:
            return LIFETIME_WRONG
        return TokenWish(name, scopes, LIFETIMES[chosen][0])
