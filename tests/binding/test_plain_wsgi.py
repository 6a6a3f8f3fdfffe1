"""Plain WSGI apps have the same two addresses, wherever they are mounted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from flask_clustertoken import ClusterTokenMiddleware, Token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError, MissingDriver
from tests.binding.parts import BOUND, LOGIN, REGISTRATION, Browser
from tests.extension.parts import SECRET

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    request_token = environ["clustertoken"]
    if environ["PATH_INFO"].startswith("/login/"):
        request_token.login(environ["PATH_INFO"].rpartition("/")[2])
    if environ["PATH_INFO"] == "/bound":
        request_token.policy(bound=True)
    found = request_token.token
    body = (found.subject if isinstance(found, Token) else found.reason).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def wrapped(clock: ManualClock, **settings: Any) -> ClusterTokenMiddleware:
    given = {"store": "memory:", "secret": SECRET, "device_bound": "offer", **settings}
    return ClusterTokenMiddleware(app, clock=clock, **given)


def test_a_plain_app_binds_its_logins(clock: ManualClock) -> None:
    middleware = wrapped(clock)
    browser = Browser(validator(middleware), clock)  # type: ignore[arg-type]
    browser.log_in()
    thief = Browser(middleware, clock)  # type: ignore[arg-type]
    thief.cookies = browser.copy(LOGIN)

    for path in ("/", "/bound"):
        assert browser.visit(path).text == "alice"
        assert thief.send(path).text == "unproven"
    clock.advance(400)
    assert browser.visit("/bound").text == "alice"
    middleware.authority.close()


@pytest.mark.parametrize(
    ("mounted", "seen"), [("/the app", "/the%20app"), ("/café", "/caf%C3%A9"), ("/~bob/", "/~bob")]
)
def test_where_it_is_mounted_the_addresses_are(clock: ManualClock, mounted: str, seen: str) -> None:
    """As the browser sees them."""
    middleware = wrapped(clock)
    environ = create_environ("/login/alice", "https://localhost", method="POST")
    environ["SCRIPT_NAME"] = mounted.encode().decode("latin-1")
    _, _, headers = run_wsgi_app(middleware, environ)
    assert f'(ES256);path="{seen}/dbsc/register"' in headers[REGISTRATION]
    middleware.authority.close()


def test_another_prefix_is_another_address(clock: ManualClock) -> None:
    middleware = wrapped(clock, binding_prefix="/.auth/device", bound_lifetime=60)
    browser = Browser(middleware, clock)  # type: ignore[arg-type]
    browser.log_in(register=False)
    assert '"/.auth/device/register"' in browser.offered
    assert browser.register().status_code == 200
    assert browser.session is not None
    assert browser.session["refresh_url"] == "/.auth/device/refresh"
    assert browser.cookies[BOUND][1] == clock.time() + 50
    assert browser.send("/dbsc/refresh", method="POST").text == "alice"  # the app's own
    middleware.authority.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"device_bound": "always"}, "DEVICE_BOUND"),
        ({"cookie_domain": "example.org"}, "COOKIE_DOMAIN"),
        ({"cookie_path": "/shop"}, "BINDING_PREFIX"),
        ({"binding_prefix": "dbsc"}, "BINDING_PREFIX"),
        ({"binding_prefix": "/dbsc/"}, "BINDING_PREFIX"),
        ({"bound_lifetime": 3}, "BOUND_LIFETIME"),
        ({"bound_lifetime": 3601}, "BOUND_LIFETIME"),
    ],
)
def test_what_cannot_work_stops_the_start(
    clock: ManualClock, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        wrapped(clock, **settings)
    assert caught.value.setting == f"CLUSTERTOKEN_{named}"


def test_below_the_cookies_path_it_works(clock: ManualClock) -> None:
    middleware = wrapped(clock, cookie_path="/shop", binding_prefix="/shop/dbsc")
    middleware.authority.close()


def test_without_the_extra_it_says_so(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "joserfc", None)
    with pytest.raises(MissingDriver, match=r"Flask-ClusterToken\[binding\]"):
        wrapped(clock)
