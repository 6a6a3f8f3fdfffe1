"""Metrics of a Flask app or of any authority: where Prometheus finds them, and who may ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response, abort, request

from ..audit import address_of
from ..authority import TokenAuthority
from ..errors import ConfigurationError, MissingDriver
from ..extension import OPEN, state_of
from .exposition import Exposition, Scrape
from .facts import Facts
from .processes import VARIABLE, count_together
from .recorder import Recorder
from .series import own_registry, series_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENDPOINT = "clustertoken_metrics"

#: What a proxy adds: the request comes from elsewhere, whatever address it has.
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


def exposition_of(authority: TokenAuthority, instance_path: str = "") -> Exposition:
    """Count for *authority* from here on. Opens no store.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError` where the processes of this
    server could not be counted together, or where prometheus-client is missing.
    """
    if authority.store.shared:
        count_together(instance_path, authority.settings.realm)
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise MissingDriver("Metrics", "prometheus-client", "metrics") from error
    registry = None if os.environ.get(VARIABLE) else own_registry()
    recorder = Recorder(authority, series_of(registry))
    return Exposition(recorder, Facts(authority), registry, authority.clock)


def from_this_host(environ: WSGIEnvironment) -> bool:
    """Whether *environ* is of a request that a program of this host made, with no proxy between."""
    if any(environ.get(name) for name in FORWARDED):
        return False
    address = address_of(environ.get("REMOTE_ADDR", ""))
    return address is not None and address.is_loopback


class Metrics:
    """Counts what the tokens of an app do, and answers Prometheus at *path*.

    ``Metrics(app)`` or ``init_app(app)``, behind ``ClusterToken(app)``. *may* says of the current
    request whether it may read them; left out, programs of this host may (on a loopback address,
    without a proxy's headers), and others are told 404. They hold no token, no subject and no
    secret. Under a server of several processes each of them answers for all.
    Raises :class:`~flask_clustertoken.errors.ConfigurationError`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        path: str = "/metrics",
        may: Callable[[], bool] | None = None,
    ) -> None:
        self._path = path
        self._may = may
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Begin to count, and add the address."""
        if not self._path.startswith("/"):
            raise ConfigurationError(
                "Metrics(path=…)", f"{self._path!r} is no path.", "Begin it with a slash."
            )
        exposition = exposition_of(state_of(app).authority, app.instance_path)
        may = self._may or (lambda: from_this_host(request.environ))

        def answer() -> Response:
            if not may():
                abort(404)
            scrape = exposition.scrape(request.headers.get("Accept", ""))
            headers = {"Content-Type": scrape.content_type, "Cache-Control": "no-store"}
            return Response(scrape.body, headers=headers)

        # (An app that demands a token of everybody does not demand one here: *may* decides.)
        setattr(answer, OPEN, True)
        app.add_url_rule(self._path, ENDPOINT, answer, methods=["GET"])


def metrics_app(
    authority: TokenAuthority,
    *,
    instance_path: str = "",
    may: Callable[[WSGIEnvironment], bool] = from_this_host,
) -> WSGIApplication:
    """A WSGI app that answers every path with the metrics of *authority*; as :class:`Metrics`."""
    exposition = exposition_of(authority, instance_path)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not may(environ):
            return _answer(
                environ, start_response, "404 Not Found", Scrape(b"not found\n", "text/plain")
            )
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            wrong = Scrape(b"GET only\n", "text/plain")
            return _answer(
                environ, start_response, "405 Method Not Allowed", wrong, ("Allow", "GET")
            )
        scrape = exposition.scrape(environ.get("HTTP_ACCEPT", ""))
        return _answer(environ, start_response, "200 OK", scrape)

    return answer


def _answer(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: str,
    scrape: Scrape,
    *more: tuple[str, str],
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", scrape.content_type),
        ("Content-Length", str(len(scrape.body))),
        ("Cache-Control", "no-store"),
        *more,
    ]
    start_response(status, headers)
    # (A body behind the headers of HEAD is taken for the connection's next answer.)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [scrape.body]
