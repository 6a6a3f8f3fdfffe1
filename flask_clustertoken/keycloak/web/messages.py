"""Messages: the addresses that Keycloak calls. What they tell us is judged, and obeyed in time."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from flask import Flask, make_response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response
from werkzeug.wsgi import get_input_stream

from ...clock import Clock
from ...errors import StoreError
from ..errors import KeycloakError, NotGenuine
from ..options import KeycloakOptions
from ..protocol import TEXT_LIMIT, Origins, Provider, claims
from .deadline import ANSWER_WITHIN, AnswerDeadline
from .receiver import Receiver

logger = logging.getLogger(__name__)


class ServersViews:
    """What Keycloak calls. No redirect, no cookie looked at, an answer well under 5 seconds."""

    def __init__(
        self,
        app: Flask,
        options: KeycloakOptions,
        clock: Clock,
        origins: Origins,
        receiver: Receiver,
    ) -> None:
        self._app = app
        self._options = options
        self._clock = clock
        self._origins = origins
        self._receiver = receiver
        # Two, since anybody can send what looks signed: however many of those wait for keys, what
        # a key at hand has signed finds a place.
        self._known, self._strangers = AnswerDeadline(), AnswerDeadline()

    def admin(self, action: str) -> ResponseReturnValue:
        """``k_logout``, ``k_push_not_before``, ``k_test_available``: 200, 400, 403 or 503."""
        text = _body()
        try:
            provider = self._origins.for_messages()
            self._in_time(text, provider, lambda: self._obey(action, text, provider))
        except _NotSigned as error:
            return _answer(action, 403, str(error))
        except NotGenuine as error:
            return _answer(action, 400, str(error))
        except (StoreError, KeycloakError) as error:
            return _answer(action, 503, str(error))
        return _answer(action, 200)

    def _obey(self, action: str, text: str, provider: Provider) -> None:
        try:
            _, said = provider.keys.verify(text, urgent=True)
        except NotGenuine as error:
            raise _NotSigned(str(error)) from error
        message = claims.read_admin_message(
            said,
            action=action,
            client_id=self._options.client_id,
            now=self._clock.time(),
        )
        self._receiver.obey(message, text, provider.issuer)

    def logout_token(self) -> ResponseReturnValue:
        """OpenID Connect Back-Channel Logout 1.0: 200, or 400 with an OAuth error."""
        text = _logout_token(_body())
        try:
            if text is None:
                raise NotGenuine("the request holds no logout_token")
            if text.count(".") == 4:
                raise NotGenuine("it is encrypted, and this client has no key for that")
            provider = self._origins.for_messages()
            self._in_time(text, provider, lambda: self._obey_logout_token(text, provider))
        except NotGenuine as error:
            return _answer("logout token", 400, str(error), oauth="invalid_request")
        except (StoreError, KeycloakError) as error:
            # Anything else than success is a 400 in the specification.
            return _answer("logout token", 400, str(error), oauth="temporarily_unavailable")
        return _answer("logout token", 200)

    def _obey_logout_token(self, text: str, provider: Provider) -> None:
        header, said = provider.keys.verify(text, urgent=True)
        token = claims.read_logout_token(
            header,
            said,
            issuer=provider.issuer,
            client_id=self._options.client_id,
            now=self._clock.time(),
        )
        self._receiver.obey_logout_token(token, text, provider.issuer)

    def _in_time(self, text: str, provider: Provider, work: Callable[[], None]) -> None:
        places = self._known if provider.keys.signed_by_held(text) else self._strangers

        def in_context() -> None:
            # (Receivers of the app's signals are called in there.)
            with self._app.app_context():
                work()

        places.within(ANSWER_WITHIN, in_context)


class _NotSigned(NotGenuine):
    """Not even the signature holds: Keycloak's adapters answer that by another status."""


def _body() -> str:
    """The request's body; :class:`_TooLong` where it is longer than a signed text may be."""
    if request.content_length is not None:
        if request.content_length > TEXT_LIMIT:
            raise _TooLong
        # A hook of the app's may have read it; then Flask has kept it.
        raw = request.get_data()
    else:
        # (A body in chunks is cut off there without a word.)
        limited = get_input_stream(request.environ, max_content_length=TEXT_LIMIT + 1)
        raw = limited.read() or request.get_data()
    if len(raw) > TEXT_LIMIT:
        raise _TooLong
    return raw.decode("ascii", "replace").strip()


class _TooLong(RequestEntityTooLarge):
    """413, in the form of the other answers."""

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        return Response(
            "longer than any message\n", 413, {"Cache-Control": "no-store"}, mimetype="text/plain"
        )


def _logout_token(body: str) -> str | None:
    if request.mimetype != "application/x-www-form-urlencoded":
        return None
    if not body:
        # A hook of the app's may have read it as a form.
        given = request.form.getlist("logout_token")
        return given[0] if len(given) == 1 else None
    try:
        found = parse_qs(body, max_num_fields=10).get("logout_token", [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


def _answer(what: str, status: int, problem: str = "", oauth: str = "") -> ResponseReturnValue:
    if problem:
        logger.warning("%s was answered with %d: %s", what, status, problem)
    body: Any = ""
    if oauth:
        body = json.dumps({"error": oauth, "error_description": problem})
    elif problem:
        body = problem
    answer = make_response(body, status)
    answer.headers["Cache-Control"] = "no-store"
    answer.mimetype = "application/json" if oauth else "text/plain"
    return answer
