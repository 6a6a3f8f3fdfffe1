"""Logout: the address at which a provider ends logins (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from werkzeug.wrappers import Request, Response

from ..clock import Clock
from ..errors import NodesTooOld, StoreError
from .errors import NotGenuine, ProviderUnavailable
from .logout_token import LogoutToken, read_logout_token
from .reception import Party, Reception, form_field

logger = logging.getLogger(__name__)

#: Ends what a verified token names; given its text too, and who issued it.
Obey = Callable[[LogoutToken, str, str], None]


class LogoutTokens:
    """Answers the logout tokens for one client. *obey* raises a
    :class:`~flask_clustertoken.errors.StoreError` where the store did not acknowledge it."""

    def __init__(
        self,
        reception: Reception,
        clock: Clock,
        *,
        client_id: str,
        obey: Obey,
        needs_end: bool = True,
    ) -> None:
        self._reception = reception
        self._clock = clock
        self._client_id = client_id
        self._obey = obey
        self._needs_end = needs_end

    def answer(self, request: Request, sender: Callable[[], Party]) -> Response:
        """200 once what it asks for is acknowledged by the store, else 400 (section 2.8).

        *sender* says whose messages *request* may bring; it may raise
        :class:`~flask_clustertoken.oidc.ProviderUnavailable`.
        """
        text = form_field(request, "logout_token")
        try:
            if text is None:
                raise NotGenuine("the request holds no logout_token")
            if text.count(".") == 4:
                raise NotGenuine("it is encrypted, and this client has no key for that")
            party, given = sender(), text
            self._reception.in_time(given, party.keys, lambda: self._judge(given, party))
        except NotGenuine as error:
            return _answer(400, "invalid_request", str(error))
        except (StoreError, NodesTooOld, ProviderUnavailable) as error:
            # Anything else than success is a 400 in the specification.
            return _answer(400, "temporarily_unavailable", str(error))
        return _answer(200)

    def _judge(self, text: str, party: Party) -> None:
        header, said = party.keys.verify(text, urgent=True)
        issuer = party.issuer
        token = read_logout_token(
            header,
            said,
            issuer=issuer,
            client_id=self._client_id,
            now=self._clock.time(),
            needs_end=self._needs_end,
        )
        self._obey(token, text, issuer)


def _answer(status: int, code: str = "", problem: str = "") -> Response:
    if code:
        logger.warning("a logout token was answered with %d: %s", status, problem)
    body = json.dumps({"error": code, "error_description": problem}) if code else ""
    mimetype = "application/json" if code else "text/plain"
    return Response(body, status, {"Cache-Control": "no-store"}, mimetype=mimetype)
