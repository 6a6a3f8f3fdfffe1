"""Push: the address to which a transmitter sends its tokens (RFC 8935)."""

from __future__ import annotations

import hmac
import json
import logging

from flask import Flask, request
from werkzeug.wrappers import Response

from ..errors import ClusterTokenError, NodesTooOld, StoreError
from ..oidc import ProviderUnavailable, Reception, message_body
from .receiving import Receiving
from .sets import BadSet
from .transmitter import Transmitter

logger = logging.getLogger(__name__)

#: Seconds after which a transmitter may try again.
AGAIN = 10


class PushAddress:
    """Answers the pushes of one transmitter. *authorization*: the header that each has to carry."""

    def __init__(
        self, app: Flask, transmitter: Transmitter, receiving: Receiving, authorization: str
    ) -> None:
        self._reception = Reception(app.app_context)
        self._transmitter = transmitter
        self._receiving = receiving
        self._authorization = authorization.encode()

    def answer(self) -> Response:
        """202 once what the token asks for is done; 400 with the error that it is refused for;
        503 where that cannot be said now, or the app fails at it (the transmitter tries again)."""
        try:
            self._check_sender()
            text = self._text()
            keys = self._transmitter.keys
            self._reception.in_time(text, keys, lambda: self._receive(text))
        except BadSet as error:
            return _answer(400, error.code, str(error))
        except (StoreError, NodesTooOld, ProviderUnavailable) as error:
            logger.warning("a pushed event was put off: %s", error)
            return _answer(503)
        return _answer(202)

    def _receive(self, text: str) -> None:
        try:
            self._receiving.receive(text)
        except ClusterTokenError:
            raise
        except Exception as error:
            # The app's own, such as its find_subject's: by then it may have been mended.
            logger.exception("a pushed event failed")
            raise self._transmitter.peer.trouble("this app fails at its event") from error

    def _check_sender(self) -> None:
        given = request.headers.get("Authorization", "").encode()
        if self._authorization and not hmac.compare_digest(given, self._authorization):
            raise BadSet("authentication_failed", "the Authorization header is not what was agreed")

    def _text(self) -> str:
        text = message_body(request)
        if request.mimetype != "application/secevent+jwt":
            raise BadSet("invalid_request", "the content type is not application/secevent+jwt")
        if text.count(".") == 4:
            raise BadSet("invalid_key", "it is encrypted, and this receiver has no key for that")
        return text


def _answer(status: int, code: str = "", problem: str = "") -> Response:
    headers = {"Cache-Control": "no-store"}
    if code:
        logger.warning("a pushed event was answered with %d %s: %s", status, code, problem)
        body = json.dumps({"err": code, "description": problem})
        headers["Content-Language"] = "en"
        return Response(body, status, headers, mimetype="application/json")
    if status == 503:
        headers["Retry-After"] = str(AGAIN)
    return Response("", status, headers, mimetype="text/plain")
