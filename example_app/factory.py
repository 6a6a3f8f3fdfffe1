"""The application factory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from flask_clustertoken.console import Console, Devices
from flask_clustertoken.metrics import Metrics

from . import answers, api, environment, health, pages, sessions, site, times
from .accounts import Account, account_of, is_admin
from .node import this_node
from .tokens import tokens

#: What the example sets unless the environment says otherwise.
DEFAULTS: dict[str, Any] = {
    # Plain HTTP on this machine only. A real site leaves this on and serves HTTPS.
    "CLUSTERTOKEN_COOKIE_SECURE": False,
    # Browsers bind over HTTPS alone; here it shows that nothing changes for those that do not.
    "CLUSTERTOKEN_DEVICE_BOUND": "offer",
    "CLUSTERTOKEN_LOGIN_VIEW": "sessions.login_page",
    "MAX_CONTENT_LENGTH": 64 * 1024,
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The example, with ``CLUSTERTOKEN_*`` from the environment; *config* wins over both.

    A wrong setting ends the process with one line that names it.
    """
    with environment.one_line_errors():
        app = Flask(__name__, instance_path=environment.instance_path())
        app.request_class = site.SiteRequest
        app.config.update(DEFAULTS)
        app.config.update(environment.settings())
        app.config.update(config or {})
        tokens.init_app(app)
        Metrics(app)  # (of this host's programs: with no proxy's headers, on a loopback address)
        # Each user's own devices and API tokens, in the frame of this site's other pages.
        Devices(
            app,
            url_prefix="/devices",
            tokens_prefix="/tokens",
            base="base.html",
            language="en",
            after="/?said=logged-out",
        )
        # Everybody's, for the administrators, and what else there is to see and to steer.
        Console(app, may=lambda token: is_admin(token.subject), base="base.html", language="en")
    answers.init_app(app)
    times.init_app(app)
    for part in (sessions, pages, site, api, health):
        app.register_blueprint(part.blueprint)

    @app.context_processor
    def everywhere() -> dict[str, Any]:
        return {
            "node": this_node(),
            "cookie_secure": app.config["CLUSTERTOKEN_COOKIE_SECURE"],
            "deployment": app.config.get("CLUSTERTOKEN_DEPLOYMENT", "default"),
        }

    return app


@tokens.user_loader
def load_account(token: Any) -> Account | None:
    return account_of(token.subject)
