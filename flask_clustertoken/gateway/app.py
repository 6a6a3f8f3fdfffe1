"""App: the gateway as a WSGI application, and how it is made from the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..authority import TokenAuthority
from ..clock import Clock
from ..errors import ConfigurationError
from ..settings import PREFIX as SETTINGS
from ..settings import Settings, from_environment, variables
from ..stores import home_of
from . import metadata, original
from .callers import ApiCallers
from .forward import ForwardAuth
from .global_revocation import GlobalRevocation
from .introspection import Introspection
from .options import PREFIX, GatewayOptions
from .peers import Peers
from .replies import Reply, problem
from .revocation import RevocationEndpoint
from .signed import SignedCallers
from .subjects import SubjectOf, named, opaque_only

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("flask_clustertoken.gateway")

#: What :func:`create_app` leaves alone in the environment: the tests' own switches.
NOT_OURS = ("TEST_", "GATEWAY_")

GLOBAL = "/global-token-revocation"

_READ, _ASKED = ("GET", "HEAD"), ("POST",)
_Endpoint = Callable[[dict[str, Any]], Reply]


class Gateway:
    """The WSGI application. *subject_of* finds the app's subject for a subject identifier.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError`. Opens nothing before the first
    request, so that it may be made before a server forks.
    """

    def __init__(
        self,
        authority: TokenAuthority,
        options: GatewayOptions | None = None,
        *,
        subject_of: SubjectOf | None = None,
    ) -> None:
        options = options or GatewayOptions()
        self.authority = authority
        peers, callers = Peers(options.trusted), ApiCallers(authority)
        if subject_of is None:
            subject_of = named(options.subjects) if options.subjects else opaque_only
        signed = None
        if options.issuer:
            signed = SignedCallers(
                options.issuer, options.url + GLOBAL, options.jwks, authority.clock
            )
        self._forward = ForwardAuth(authority, options, peers)
        self._endpoints: dict[str, tuple[tuple[str, ...], _Endpoint]] = {
            "/introspect": (_ASKED, Introspection(authority, options, callers)),
            "/revoke": (_ASKED, RevocationEndpoint(authority, options, callers)),
            GLOBAL: (_ASKED, GlobalRevocation(authority, options, callers, subject_of, signed)),
            metadata.PATH: (_READ, metadata.Metadata(options, peers)),
            "/healthz": (_READ, _alive),
            "/readyz": (_READ, self._ready),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        # (Taken here: behind it the environ is that of the request that a proxy asks about.)
        asked_by = environ["REQUEST_METHOD"]
        if path == original.PATH or original.is_beneath(environ):
            sent = self._forward(environ, start_response)
        else:
            sent = self._answer(path, environ).send(start_response)
        # A body behind the headers of HEAD is taken for the next answer of the connection.
        return [] if asked_by == "HEAD" else sent

    def _answer(self, path: str, environ: WSGIEnvironment) -> Reply:
        methods, endpoint = self._endpoints.get(path, ((), _alive))
        if not methods:
            return problem(404, "not_found", "There is nothing here.")
        if environ["REQUEST_METHOD"] not in methods:
            said = f"Ask with {' or '.join(methods)}."
            return problem(405, "invalid_request", said, ("Allow", ", ".join(methods)))
        try:
            return endpoint(environ)
        except Exception:
            # (Nothing of it goes out: it may quote what was sent.)
            logger.exception("%s could not be answered", path)
            return problem(500, "server_error", "Something went wrong; the log says what.")

    def _ready(self, environ: WSGIEnvironment) -> Reply:
        """Whether this worker can vouch for tokens: where not, send requests elsewhere."""
        readiness = self.authority.readiness()
        staleness = readiness.staleness
        said = {
            "fresh": readiness.fresh,
            "staleness_seconds": None if staleness is None else round(staleness, 3),
            "applied": readiness.applied,
        }
        return Reply(200 if readiness.fresh else 503, said)


def _alive(environ: WSGIEnvironment) -> Reply:
    """The process runs. Says nothing of the store, or a fault there would restart everything."""
    return Reply(200, {"ok": True})


def create_app(
    *,
    subject_of: SubjectOf | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> Gateway:
    """A gateway by the ``CLUSTERTOKEN_*`` variables: ``gunicorn
    'flask_clustertoken.gateway:create_app()'``.

    *settings*, by their names in small letters (``store=…``, ``gateway_trusted=[…]``), win over
    those of *environ*, which is the process's unless given. A store must be named. With
    ``directory:`` and no key named, the key is in ``token_secret`` beside the store's folder, as
    for :class:`~flask_clustertoken.ClusterTokenMiddleware`. *subject_of* finds the app's subject
    for a subject identifier (RFC 9493), in place of ``GATEWAY_SUBJECTS``.

    Raises :class:`~flask_clustertoken.errors.ConfigurationError`, which names what is wrong.
    """
    if environ is None:
        environ = os.environ
    given = {SETTINGS + name.upper(): value for name, value in settings.items()}
    own = {key: value for key, value in given.items() if key.startswith(PREFIX)}
    found = from_environment(environ, apart=NOT_OURS)
    found |= {key: value for key, value in given.items() if key not in own}
    if not found.get(SETTINGS + "STORE"):
        raise ConfigurationError(
            SETTINGS + "STORE",
            "it is not set, and the gateway has no app's folder to look into.",
            "Name the store of the app whose logins count: directory:///abs/path, zookeeper://…, "
            "redis://…, postgresql://….",
        )
    options = GatewayOptions.from_mapping({**variables(environ, GatewayOptions, PREFIX), **own})
    authority = TokenAuthority(
        Settings.from_mapping(found),
        instance_path=home_of(found[SETTINGS + "STORE"]),
        clock=clock,
    )
    return Gateway(authority, options, subject_of=subject_of)
