"""Transport: HTTP to Keycloak with an end to everything: time, size, redirects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .errors import KeycloakUnavailable
from .options import Options

if TYPE_CHECKING:
    import requests

#: Bytes of an answer beyond which it is no answer of Keycloak's.
ANSWER_LIMIT = 1024 * 1024


def equip(session: requests.Session, options: Options) -> None:
    """Give *session* the limits and what *options* say of proxy and certificates.

    The time limit is for the whole answer: a server that sends one byte a second would keep
    ``requests`` waiting for ever.
    """
    from requests import ConnectTimeout, ReadTimeout, TooManyRedirects
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import HTTPError

    class Limited(HTTPAdapter):
        def send(self, request: Any, **given: Any) -> Any:  # type: ignore[override]
            end = time.monotonic() + options.connect_timeout + options.read_timeout
            given["stream"] = True
            given["timeout"] = (options.connect_timeout, options.read_timeout)
            answer = super().send(request, **given)
            if answer.is_redirect:
                answer.close()
                raise TooManyRedirects("a redirect, which is not followed", request=request)
            body = bytearray()
            try:
                while chunk := answer.raw.read1(65_536, decode_content=True):
                    body += chunk
                    if len(body) > ANSWER_LIMIT or time.monotonic() > end:
                        raise ReadTimeout("an answer without end", request=request)
            except HTTPError as error:
                raise ConnectTimeout(str(error), request=request) from error
            finally:
                answer.close()
            answer._content = bytes(body)
            return answer

    pool = max(1, options.connection_pool_size)
    adapter = Limited(pool_connections=2, pool_maxsize=pool, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept"] = "application/json"
    if options.ca_bundle:
        session.verify = options.ca_bundle
    if options.proxy_url:
        session.proxies = {"http": options.proxy_url, "https": options.proxy_url}


def unavailable(what: str, error: Exception) -> KeycloakUnavailable:
    """The error to raise where *what* failed; it names the kind of trouble, never a body."""
    return KeycloakUnavailable(f"Keycloak: {what} failed ({type(error).__name__})")
