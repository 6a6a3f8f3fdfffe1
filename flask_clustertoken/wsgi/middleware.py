"""The WSGI middleware: a token in, a cookie out, for any WSGI application.

``environ["clustertoken"]`` holds an unread :class:`RequestToken`. The application looks
at its ``token`` where it needs to; a request on which nobody looked costs next to nothing and
gets no cookie, no ``Vary`` and never a 503::

    application = ClusterTokenMiddleware(application, store="directory:/var/lib/app/shared",
                                         secret_file="/etc/app/token_secret")

The look is lazy so that whatever wraps the application (``ProxyFix``) and the view's own
policy (:meth:`RequestToken.policy`) are known by then, in whichever order things were stacked. At
``start_response``, the last moment before bytes leave, the cookie is renewed, set or cleared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..audit import AuditTrail
from ..authority import TokenAuthority
from ..clock import Clock
from ..settings import PREFIX, Settings
from ..stores import home_of
from .cookies import Cookie
from .gate import BearerVerifier, Binder, Gate
from .request_token import ENVIRON_KEY, RequestToken
from .response import agent_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ClusterTokenMiddleware:
    """Wraps *wsgi_app*; see the module's text.

    *authority*, which brings its settings and clock, or else settings by their names in small
    letters (:class:`Settings`), of which ``store`` is required. Raises
    :class:`~flask_clustertoken.errors.ConfigurationError`, and :class:`TypeError` for both.
    """

    def __init__(
        self,
        wsgi_app: WSGIApplication,
        authority: TokenAuthority | None = None,
        *,
        instance_path: str = "",
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        if authority is None:
            if "store" not in settings:
                raise TypeError("store= is required, for example store='directory:/var/lib/app'")
            given = {PREFIX + name.upper(): value for name, value in settings.items()}
            authority = TokenAuthority(
                Settings.from_mapping(given),
                instance_path=instance_path or home_of(settings["store"]),
                clock=clock,
            )
        elif settings or instance_path or clock is not None:
            named = sorted(settings) or ["instance_path" if instance_path else "clock"]
            raise TypeError(f"{', '.join(named)}: an authority is given and has its own already")
        self.wsgi_app = wsgi_app
        self.authority = authority
        authority.reuse.agent_of = agent_of
        self.cookie = Cookie.of(authority.settings.cookie)
        self.trusted_origins = frozenset(map(str.lower, authority.settings.trusted_origins))
        #: Who else may judge bearer tokens: an identity provider's, for example.
        self.bearer_verifiers: list[BearerVerifier] = []
        #: Called with the first request, and with each until it has returned once. Not locked:
        #: several threads whose first requests meet may all call it.
        self.before_first: Callable[[], None] | None = None
        #: What binds logins to devices, where that is set.
        self.binding: Binder | None = None
        if authority.settings.device_bound != "off":
            from ..binding import DeviceBinding

            self.binding = DeviceBinding(authority)
        #: Who did what to whom.
        self.audit = AuditTrail.of(authority)
        #: What each request's token is judged by.
        self.gate = Gate(
            authority, self.cookie, self.trusted_origins, self.bearer_verifiers, self.binding
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        before_first = self.before_first
        if before_first is not None:
            before_first()
            self.before_first = None
        if self.binding is not None:
            # (Before the app: neither its hooks nor its login page stand in a browser's way.)
            answer = self.binding.answer(environ, self.gate)
            if answer is not None:
                return answer(environ, start_response)
        token = environ[ENVIRON_KEY] = RequestToken(self.gate, environ)
        # (Not kept in the token: a server's start_response may know the environ.)
        return self.wsgi_app(environ, partial(token.start, start_response))
