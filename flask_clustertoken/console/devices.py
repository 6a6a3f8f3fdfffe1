"""Devices: each user's own logins and API tokens, to see and to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ..cluster import Revocation
from ..errors import ConfigurationError, StoreError
from ..extension import (
    current_state,
    fresh_login_required,
    own_request_token,
    require_token,
    token_required,
)
from .devices_logins import LoginList
from .devices_tokens import MOST_SCOPES, TokenForm, TokenList
from .pages import POLICY, Pages, Tab
from .texts import N_, Language

View = Callable[..., ResponseReturnValue]

NAME = "clustertoken_devices"

#: Seconds that a page waits for all servers to say that what was ended is ended there.
CONFIRM = 2.0

#: What ``?said=`` may make a page say; nobody else's words get onto it.
SAID = {
    "ended": N_("That login has ended, on every server."),
    "ending": N_(
        "That login has ended. Not every server has said so yet; the others refuse it soon."
    ),
    "others-ended": N_("All your other logins have ended, on every server. This one stays."),
    "others-ending": N_(
        "All your other logins have ended. Not every server has said so yet; the others refuse "
        "them soon."
    ),
    "token-ended": N_("That API token has ended, on every server."),
    "token-ending": N_(
        "That API token has ended. Not every server has said so yet; the others refuse it soon."
    ),
}

#: Said with 404, the same for what is over, was never there, and is somebody else's.
NO_SUCH_LOGIN = N_("You have no such login (any more).")
NO_SUCH_TOKEN = N_("You have no such API token (any more).")


class Devices:
    """A page for each user: where they are logged in, and their API tokens, to end or to make.

    ``Devices(app)`` or ``init_app(app)``, behind ``ClusterToken(app)``. The lists are at
    *url_prefix* and at *tokens_prefix* (left out: ``/tokens`` below it); *api_tokens* ``False``
    leaves the second one out. *scopes*: those that a user may give an API token (left out: any
    words). What ends another login, or makes or ends a token, asks for credentials that were
    checked at most *max_age* ago (``None``: however long ago). *after*
    is the address that whoever logged out here is sent to. *title*, *base*, *language* and
    *policy* as docs/devices says.
    Raises :class:`~flask_clustertoken.errors.ConfigurationError` for what cannot be meant.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url_prefix: str = "/account/devices",
        tokens_prefix: str = "",
        api_tokens: bool = True,
        scopes: Sequence[str] | None = None,
        max_age: timedelta | None = timedelta(hours=1),
        after: str = "/",
        base: str = "",
        language: Language = None,
        policy: str | None = POLICY,
    ) -> None:
        if isinstance(scopes, str) or (scopes is not None and len(scopes) > MOST_SCOPES):
            raise ConfigurationError(
                "Devices(scopes=…)", f"a list of at most {MOST_SCOPES} words is needed."
            )
        if not (max_age is None or isinstance(max_age, timedelta)):
            raise ConfigurationError(
                "Devices(max_age=…)", f"{max_age!r} is no timedelta.", "Write timedelta(hours=1)."
            )
        if not after.startswith("/") or after.startswith("//"):
            raise ConfigurationError("Devices(after=…)", f"{after!r} is no path of this site.")
        self._url_prefix = url_prefix
        self._tokens_prefix = tokens_prefix or f"{url_prefix}/tokens"
        self._after = after
        self._form = TokenForm(scopes)
        self._max_age = max_age
        self.pages = Pages(NAME, base=base, language=language, policy=policy)
        self._add_views(api_tokens)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the pages to *app*."""
        self.pages.add_to(app, self._url_prefix)

    def _add_views(self, api_tokens: bool) -> None:
        add, fresh = self._add, self._fresh
        add("", "logins", self._show_logins)
        # (Whoever logs out here is asked for nothing.)
        self._end_other_login = fresh(self._end_another)
        add("/<token_id>/end", "end_login", self._end_login, "POST")
        add("/end-others", "end_others", fresh(self._end_others), "POST")
        add("/end-everything", "end_everything", fresh(self._end_everything), "POST")
        self.pages.tabs = [Tab("logins", N_("Devices"), ("end_login",))]
        if not api_tokens:
            return
        self.pages.tabs.append(Tab("tokens", N_("API tokens"), ("make_token", "end_token")))
        below = self._tokens_prefix
        add("", "tokens", self._show_tokens, below=below)
        add("", "make_token", fresh(self._make_token), "POST", below)
        add("/<token_id>/end", "end_token", fresh(self._end_token), "POST", below)

    def _add(self, rule: str, name: str, view: View, method: str = "GET", below: str = "") -> None:
        self.pages.add_view(rule, name, token_required(kind="login")(view), method, below)

    def _fresh(self, view: View) -> View:
        return view if self._max_age is None else fresh_login_required(self._max_age)(view)

    # -- logins ----------------------------------------------------------------------------

    def _show_logins(self, note: str = "", status: int = 200) -> ResponseReturnValue:
        found = LoginList.of_current_user(_page())
        has_tokens = len(self.pages.tabs) > 1
        return self._show("devices/logins.html", status, note, logins=found, api_tokens=has_tokens)

    def _end_login(self, token_id: str) -> ResponseReturnValue:
        if token_id == require_token().id:
            # This device: its cookie goes too.
            own_request_token().logout()
            return self._away()
        return self._end_other_login(token_id)

    def _end_another(self, token_id: str) -> ResponseReturnValue:
        if not _is_own(token_id, "login"):
            return self._show_logins(self.pages.catalog.gettext(NO_SUCH_LOGIN), 404)
        revocation = current_state().authority.revoke_ids([token_id])
        return self._behind("logins", "ended", revocation)

    def _end_others(self) -> ResponseReturnValue:
        revocation = own_request_token().logout_everywhere(keep_current=True)
        return self._behind("logins", "others-ended", revocation)

    def _end_everything(self) -> ResponseReturnValue:
        if request.form.get("api_tokens"):
            # (First: where that fails, whoever wants it is still there to try it again.)
            current_state().authority.revoke_subject(require_token().subject, ("api",))
        own_request_token().logout_everywhere()
        return self._away()

    # -- API tokens ------------------------------------------------------------------------

    def _show_tokens(self, note: str = "", status: int = 200, **more: Any) -> ResponseReturnValue:
        try:
            found = TokenList.of_current_user(_page())
        except StoreError:
            if "text" not in more:
                raise
            # (What was just made can be seen now and never again.)
            found = TokenList.unknown()
        given = {"made": None, "text": "", "given": request.form, **more}
        return self._show(
            "devices/tokens.html", status, note, tokens=found, form=self._form, **given
        )

    def _make_token(self) -> ResponseReturnValue:
        wish = self._form.read(request.form)
        if isinstance(wish, str):
            return self._show_tokens(self.pages.catalog.gettext(wish), 400)
        issued = wish.issue()
        # No redirect: this answer is the only place where the text ever stands.
        return self._show_tokens(status=201, made=issued.token, text=issued.text, given={})

    def _end_token(self, token_id: str) -> ResponseReturnValue:
        if not _is_own(token_id, "api"):
            return self._show_tokens(self.pages.catalog.gettext(NO_SUCH_TOKEN), 404)
        revocation = current_state().authority.revoke_ids([token_id])
        return self._behind("tokens", "token-ended", revocation)

    # -- what is common to both ------------------------------------------------------------

    def _show(self, page: str, status: int, note: str, **context: Any) -> ResponseReturnValue:
        """*note* says what was not done; left out, ``?said=`` what was."""
        return self.pages.show(
            page,
            status,
            note=note or self.pages.said(SAID),
            bad=bool(note),
            asked_first=self._is_asked_first(),
            **context,
        )

    def _is_asked_first(self) -> bool:
        """Whether the login is so old that each act but its own end asks for another one."""
        if self._max_age is None:
            return False
        age = current_state().authority.clock.time() - require_token().authenticated_at
        return age > self._max_age.total_seconds()

    def _away(self) -> ResponseReturnValue:
        """From the pages to the site, for whoever is not logged in any more."""
        return redirect(request.script_root + self._after, 303)

    def _behind(self, view: str, said: str, revocation: Revocation | None) -> ResponseReturnValue:
        """Back to the list, which says whether it is in force everywhere."""
        if revocation is not None and not _in_force(revocation):
            said = said.replace("ended", "ending")
        return redirect(url_for(f".{view}", said=said), 303)


def _page() -> int:
    return max(1, request.args.get("page", 1, int))


def _is_own(token_id: str, kind: str) -> bool:
    """Whether it is the id of a living token of *kind* of the current user's."""
    try:
        found = current_state().authority.token(token_id)
    except ValueError:
        return False
    return found is not None and (found.subject, found.kind) == (require_token().subject, kind)


def _in_force(revocation: Revocation) -> bool:
    try:
        return bool(revocation.confirm(CONFIRM))
    except StoreError:
        # (It is in the feed: only who has learnt it cannot be asked now.)
        return False
