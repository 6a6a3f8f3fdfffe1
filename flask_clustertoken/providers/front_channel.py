"""Front channel: the provider's page loads ours in a frame (OIDC Front-Channel Logout 1.0).

Nothing is signed, so nothing is believed but this: whoever names the session of the very login
that the browser sends along may end that one login. Without the cookie, which browsers keep out
of frames of other sites, nothing is ended.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from flask import make_response, request
from flask.typing import ResponseReturnValue

from ..authority import TokenAuthority
from ..errors import StoreError
from ..extension import own_request_token
from ..tokens import Token
from .labels import sid_label

logger = logging.getLogger(__name__)


class FrontChannel:
    """Answers the front-channel log-outs of one provider."""

    def __init__(self, authority: TokenAuthority, issuer: str) -> None:
        self._authority = authority
        self._issuer = issuer

    def answer(self) -> ResponseReturnValue:
        """200 and an empty page, whether or not there was anything to end; 503 in trouble."""
        status = 200
        login = own_request_token()
        login.policy(slide=False)
        found = login.token
        if isinstance(found, Token) and found.kind == "login" and self._names(found):
            try:
                self._authority.end(found)
            except StoreError as error:
                logger.warning("a front-channel log-out was not done: %s", error)
                status = 503
        answer = make_response("", status)
        answer.headers["Cache-Control"] = "no-store"
        # (Or else a header for all pages of the app might keep it out of the frame.)
        answer.headers["Content-Security-Policy"] = f"frame-ancestors {self._origin}"
        return answer

    def _names(self, token: Token) -> bool:
        sid = request.args.get("sid", "")
        ours = request.args.get("iss") == self._issuer
        return ours and bool(sid) and sid_label(self._issuer, sid) in token.labels

    @property
    def _origin(self) -> str:
        parts = urlsplit(self._issuer)
        return f"{parts.scheme}://{parts.netloc}"
