"""Back channel: a provider says that a session, or all of a person's, is over (OIDC BCL 1.0)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from flask import Flask, request

from ..authority import TokenAuthority
from ..errors import Conflict, MissingDriver
from ..extension import state_of
from ..oidc import (
    Issuer,
    LogoutToken,
    LogoutTokens,
    Once,
    Reception,
    checked_url,
    in_clear,
)
from .arguments import checked_limits, checked_text
from .front_channel import FrontChannel
from .labels import digest, login_labels, sid_label, sub_label
from .routes import Addresses, checked_name

logger = logging.getLogger(__name__)


class BackChannelLogout:
    """Log-outs at the OpenID provider *issuer* end the logins that *client_id* made with it.

    ``provider = BackChannelLogout(app, issuer="https://login.example", client_id="shop")`` after
    ``ClusterToken(app)``, or ``init_app(app)``; one for each provider, each with a *name* of its
    own. Register ``/<name>/backchannel-logout`` at the provider as the client's back-channel
    logout URI, and let each login carry ``labels=provider.labels(userinfo)``.

    *issuer* is spelled as the provider spells it. *timeout*: seconds for one answer of its.
    *ca_bundle* names a PEM file, *proxy_url* a proxy, where the environment's do not fit.
    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where an argument is wrong, and
    :class:`~flask_clustertoken.errors.MissingDriver` without the extra ``oidc``. Asks nobody
    before the first logout token.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        issuer: str,
        client_id: str,
        name: str = "oidc",
        url_prefix: str | None = None,
        timeout: float = 5.0,
        ca_bundle: str = "",
        proxy_url: str = "",
    ) -> None:
        self.issuer = checked_url("issuer", issuer)
        self.client_id = checked_text(
            "client_id", client_id, "Copy the client's id from the provider."
        )
        self.name = checked_name(name)
        self._url_prefix = url_prefix
        self._reach = checked_limits(timeout, proxy_url, ca_bundle, most=60)
        if in_clear(issuer):
            logger.warning(
                "the keys of %s are fetched without encryption: whoever is on the way can end "
                "logins; use https", issuer
            )  # fmt: skip
        if app is not None:
            self.init_app(app)

    def labels(self, userinfo: Mapping[str, Any]) -> tuple[str, ...]:
        """For ``login(…, labels=…)``: by what the provider can end this login.

        *userinfo*: the claims of the ID token, such as Authlib's ``token["userinfo"]``. (What the
        userinfo end point answers has no ``sid``: a log-out of one session would not be heard.)
        Raises :class:`ValueError` for the claims of another issuer, or without a subject.
        """
        return login_labels(self.issuer, userinfo)

    def sid_label(self, sid: str) -> str:
        """The label of the logins of one session of the provider's."""
        return sid_label(self.issuer, sid)

    def sub_label(self, subject: str) -> str:
        """The label of the logins of one person, by the provider's own id."""
        return sub_label(self.issuer, subject)

    def init_app(self, app: Flask) -> None:
        """Add the addresses to *app*."""
        for package in ("joserfc", "cryptography", "requests"):
            if find_spec(package) is None:
                raise MissingDriver("BackChannelLogout", package, "oidc")
        authority = state_of(app).authority
        issuer = Issuer(self.issuer, clock=authority.clock, reach=self._reach)
        receiver = _Receiver(authority, self.issuer, self.client_id)
        tokens = LogoutTokens(
            Reception(app.app_context),
            authority.clock,
            client_id=self.client_id,
            obey=receiver.obey,
            # (Providers of before December 2023 name no end.)
            needs_end=False,
        )
        front = FrontChannel(authority, self.issuer)
        addresses = Addresses(self.name, self._url_prefix)
        addresses.add(
            "/backchannel-logout",
            "backchannel_logout",
            lambda: tokens.answer(request, lambda: issuer),
            "POST",
        )
        addresses.add("/frontchannel-logout", "frontchannel_logout", front.answer, "GET")
        addresses.register(app)


class _Receiver:
    """What a verified logout token becomes: one entry of the feed, and once."""

    def __init__(self, authority: TokenAuthority, issuer: str, client_id: str) -> None:
        self._authority = authority
        self._root = f"oidc/{digest(f'{issuer}#{client_id}')[:12]}"

    def obey(self, token: LogoutToken, text: str, issuer: str) -> None:
        """End one session's logins, or all that a person has by now; a replay does nothing."""
        key = f"{self._root}/message/{digest(token.id)}"
        once = Once(key, text, token.expires_at, source="oidc")
        session = token.sid is not None
        label = (
            sid_label(issuer, token.sid or "")
            if session
            else sub_label(issuer, token.subject or "")
        )
        try:
            # One session: also a login that is just being made with it. A person: not those to
            # come, who may log in again at once.
            self._authority.revoke_labels(
                [label], before=not session, changes=[once.record], entry_id=once.entry_id()
            )
        except Conflict:
            once.check_replay(self._authority.store)
