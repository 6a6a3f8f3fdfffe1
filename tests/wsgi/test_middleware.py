"""The middleware around any WSGI app, without Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from flask_clustertoken import ClusterTokenMiddleware, Refusal, Settings, Token, TokenAuthority
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError, NotAllowed
from flask_clustertoken.wsgi import RequestToken

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECRET = "the secret of these tests, long enough"
COOKIE = "__Host-clustertoken"
DAY = 86_400

Wrap = Callable[..., ClusterTokenMiddleware]


@pytest.fixture
def wrap(clock: ManualClock) -> Iterator[Wrap]:
    made: list[ClusterTokenMiddleware] = []

    def make(app: WSGIApplication, **settings: Any) -> ClusterTokenMiddleware:
        given = {"store": "memory:", "secret": SECRET, **settings}
        made.append(ClusterTokenMiddleware(app, clock=clock, **given))
        return made[-1]

    yield make
    for one in made:
        one.authority.close()


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Greets whoever is logged in; ``/public`` does not look."""
    request_token: RequestToken = environ["clustertoken"]
    path = environ["PATH_INFO"]
    if path == "/login":
        request_token.login("alice", {"role": "editor"})
    elif path == "/logout":
        request_token.logout()
    elif path == "/poll":
        request_token.policy(slide=False)
    token = request_token.token if path != "/public" else None
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(token.subject if token else "nobody").encode()]


def text_of(middleware: ClusterTokenMiddleware, subject: str = "alice") -> str:
    return middleware.authority.issue_login(subject).text


def cookies_set(headers: Any) -> list[str]:
    return [
        value.partition(";")[0].partition("=")[2]
        for name, value in headers
        if name == "Set-Cookie" and value.startswith(COOKIE)
    ]


def test_a_plain_app_logs_in_and_out(wrap: Wrap, clock: ManualClock) -> None:
    """The request token in the environ is all there is: look, log in, log out, poll."""
    client = Client(wrap(hello))

    assert client.get("/").text == "nobody"
    assert client.post("/login").text == "alice"
    assert client.get("/").text == "alice"
    clock.advance(2 * DAY)
    assert not cookies_set(client.get("/poll").headers)
    assert not cookies_set(client.get("/public").headers)
    assert cookies_set(client.get("/").headers)
    assert client.post("/logout").text == "nobody"
    assert client.get("/").text == "nobody"


@pytest.mark.parametrize("path", ["/", "/login", "/logout", "/public", "/poll"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_it_keeps_the_rules_of_wsgi(wrap: Wrap, clock: ManualClock, path: str, method: str) -> None:
    """The server's side of the protocol holds, as ``wsgiref.validate`` judges it."""

    def proper(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = hello(environ, start_response)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    middleware = wrap(proper)
    text = text_of(middleware)
    clock.advance(2 * DAY)
    builder = EnvironBuilder(path=path, method=method, headers={"Cookie": f"{COOKIE}={text}"})
    environ = builder.get_environ()
    environ["SCRIPT_NAME"] = ""
    # The validator wants the words of its own day.
    environ.pop("werkzeug.request", None)

    body, status, headers = run_wsgi_app(validator(middleware), environ)
    list(body)
    if hasattr(body, "close"):
        body.close()

    assert status == "200 OK"
    assert len(cookies_set(headers)) == (0 if path in ("/public", "/poll") else 1)


def test_nobody_looked_so_nothing_happens(wrap: Wrap) -> None:
    """The response goes through as the app made it, and the store is not even opened."""
    middleware = wrap(hello)

    answer = Client(middleware).get("/public", headers={"Cookie": f"{COOKIE}=garbage"})

    assert [name for name, _ in answer.headers] == ["Content-Type"]
    assert middleware.authority.following is None


def test_the_body_is_not_touched(wrap: Wrap) -> None:
    """What the app returns is what the server gets: a file stays a file, a stream a stream."""
    body = iter([b"a", b"b"])

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return body

    environ = EnvironBuilder().get_environ()

    assert wrap(app)(environ, lambda *_: lambda data: None) is body


def test_a_generator_may_start_late(wrap: Wrap, clock: ManualClock) -> None:
    """An app that is a generator calls start_response with its first piece: the cookie is there."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        token = environ["clustertoken"].token
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"hello "
        yield token.subject.encode()

    middleware = wrap(app)
    text = text_of(middleware)
    clock.advance(2 * DAY)

    answer = Client(middleware, use_cookies=False).get("/", headers={"Cookie": f"{COOKIE}={text}"})

    assert answer.text == "hello alice"
    assert len(cookies_set(answer.headers)) == 1


def test_the_old_way_of_writing_works(wrap: Wrap) -> None:
    """The write function of start_response is handed through."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        bool(environ["clustertoken"].token)
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        return [b"and returned"]

    assert Client(wrap(app)).get("/").text == "written and returned"


def test_an_error_replaces_the_answer_and_keeps_the_cookie(wrap: Wrap, clock: ManualClock) -> None:
    """start_response called again with exc_info: the same cookie, renewed once, and exc_info."""
    calls: list[tuple[Any, ...]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        bool(environ["clustertoken"].token)
        start_response("200 OK", [("Content-Type", "text/plain")])
        error = ValueError("too late")
        start_response("500 Oops", [("Content-Type", "text/plain")], (ValueError, error, None))
        return [b"oops"]

    def start_response(*args: Any) -> Callable[[bytes], None]:
        calls.append(args)
        return lambda data: None

    middleware = wrap(app)
    text = text_of(middleware)
    clock.advance(2 * DAY)
    environ = EnvironBuilder(headers={"Cookie": f"{COOKIE}={text}"}).get_environ()

    list(middleware(environ, start_response))

    assert [len(call) for call in calls] == [2, 3]
    assert calls[1][0] == "500 Oops"
    assert calls[1][2][0] is ValueError
    first, second = (cookies_set(call[1]) for call in calls)
    assert len(first) == 1
    assert first == second


def test_the_apps_own_headers_and_cookies_stay(wrap: Wrap) -> None:
    """Order and duplicates of what the app sent are kept, ours comes last."""
    sent = [("Set-Cookie", "a=1"), ("X-One", "1"), ("Set-Cookie", "b=2"), ("X-One", "2")]

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["clustertoken"].login("alice")
        start_response("200 OK", list(sent))
        return [b""]

    answer = Client(wrap(app)).get("/")

    assert [pair for pair in answer.headers if pair in sent] == sent
    assert answer.headers.getlist("Set-Cookie")[-1].startswith(COOKIE)


def test_a_policy_of_before_the_look_counts(wrap: Wrap) -> None:
    """Looking is lazy: what wraps the app from inside still decides."""
    seen: list[bool] = []

    def inner(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ["clustertoken"].looked)
        environ["HTTP_COOKIE"] = environ["HTTP_X_FORWARDED_COOKIE"]
        return hello(environ, start_response)

    middleware = wrap(inner)
    header = {"X-Forwarded-Cookie": f"{COOKIE}={text_of(middleware)}"}

    assert Client(middleware).get("/", headers=header).text == "alice"
    assert seen == [False]


def test_others_may_judge_bearer_tokens(wrap: Wrap) -> None:
    """A verifier gives a token, refuses, or passes it on; ours never reach it."""
    middleware = wrap(hello)
    asked: list[str] = []
    theirs = middleware.authority.issue_api_token("carol", "theirs")

    def verify(text: str, environ: dict[str, Any]) -> Token | Refusal | None:
        asked.append(text)
        if text == "carols":
            return theirs.token
        return Refusal("expired") if text == "old" else None

    middleware.bearer_verifiers.append(verify)
    client = Client(middleware)

    def who(text: str) -> str:
        return client.get("/", headers={"Authorization": f"Bearer {text}"}).text

    assert [who("carols"), who("old"), who("strange"), who(theirs.text)] == [
        "carol",
        "nobody",
        "nobody",
        "carol",
    ]
    assert asked == ["carols", "old", "strange"]


def test_a_bearer_token_does_not_log_in(wrap: Wrap) -> None:
    """The rule is the middleware's, so it holds without Flask."""
    middleware = wrap(hello)
    robot = middleware.authority.issue_api_token("robot", "robot").text

    with pytest.raises(NotAllowed, match="bearer"):
        Client(middleware).post("/login", headers={"Authorization": f"Bearer {robot}"})


def test_a_store_has_to_be_named() -> None:
    """Plain WSGI has no instance folder to begin with."""
    with pytest.raises(TypeError, match="store="):
        ClusterTokenMiddleware(hello)


def test_a_wrong_setting_is_named() -> None:
    """Settings are the same as a Flask app's, in small letters."""
    with pytest.raises(ConfigurationError, match=r"LIFETIM.*LIFETIME"):
        ClusterTokenMiddleware(hello, store="memory:", lifetim=3)


def test_an_embedded_store_brings_its_key(tmp_path: Path, clock: ManualClock) -> None:
    """Without a secret the key file is written beside the store's folder, for its owner alone."""
    one = ClusterTokenMiddleware(hello, store=f"directory:{tmp_path}/shared")
    text = text_of(one)
    one.authority.close()
    two = ClusterTokenMiddleware(hello, store=f"directory:{tmp_path}/shared")

    answer = Client(two, use_cookies=False).get("/", headers={"Cookie": f"{COOKIE}={text}"})

    assert answer.text == "alice"
    assert (tmp_path / "token_secret").stat().st_mode & 0o777 == 0o600
    two.authority.close()


def test_two_middlewares_may_share_an_authority(clock: ManualClock) -> None:
    """An authority of one's own serves any number of apps: one node, one view."""
    authority = TokenAuthority(
        Settings.from_mapping({"CLUSTERTOKEN_STORE": "memory:", "CLUSTERTOKEN_SECRET": SECRET}),
        clock=clock,
    )
    one, two = (ClusterTokenMiddleware(hello, authority) for _ in range(2))
    client = Client(one)
    client.post("/login")
    value = client.get_cookie(COOKIE)
    assert value is not None

    answer = Client(two, use_cookies=False).get("/", headers={"Cookie": f"{COOKIE}={value.value}"})

    assert answer.text == "alice"
    authority.close()


@pytest.mark.parametrize(
    "more", [{"lifetime": 5, "nonsense": 7}, {"clock": ManualClock()}, {"instance_path": "/srv"}]
)
def test_settings_beside_an_authority_are_an_error(
    clock: ManualClock, more: dict[str, Any]
) -> None:
    """The authority has its own: what is said beside it would be ignored without a word."""
    settings = Settings.from_mapping({"CLUSTERTOKEN_STORE": "memory:"})
    authority = TokenAuthority(settings, clock=clock)

    with pytest.raises(TypeError, match=next(iter(more))):
        ClusterTokenMiddleware(hello, authority, **more)


def test_first_requests_of_two_threads_may_meet(clock: ManualClock) -> None:
    """Another one may finish ``before_first`` between the question and the call."""
    calls: list[str] = []

    class Racing(ClusterTokenMiddleware):
        """Whoever asks a second time finds that another thread was faster."""

        @property
        def before_first(self) -> Any:
            calls.append("asked")
            return (lambda: calls.append("called")) if calls == ["asked"] else None

        @before_first.setter
        def before_first(self, value: Any) -> None:
            pass

    answer = Client(Racing(hello, store="memory:", secret=SECRET, clock=clock)).get("/public")

    assert answer.status_code == 200
    assert calls == ["asked", "called"]


@pytest.mark.parametrize("call", ["login", "logout", "logout_everywhere"])
def test_it_is_too_late_to_log_in_or_out_once_the_headers_have_left(wrap: Wrap, call: str) -> None:
    """In a streamed body: an error, and the login that there is goes on."""
    errors: list[Exception] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        request_token = environ["clustertoken"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"stream"
        try:
            getattr(request_token, call)(*["bob"] * (call == "login"))
        except RuntimeError as error:
            errors.append(error)

    middleware = wrap(app)
    text = text_of(middleware)

    answer = Client(middleware, use_cookies=False).get("/", headers={"Cookie": f"{COOKIE}={text}"})

    assert answer.text == "stream"
    (error,) = errors
    assert "headers have left" in str(error)
    assert middleware.authority.authenticate(text), "nothing was ended"
    assert not list(middleware.authority.tokens_of("bob")), "and nobody logged in"


def test_an_exception_of_the_app_goes_through(wrap: Wrap) -> None:
    """What the app raises the server sees."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError("the app's own")

    with pytest.raises(LookupError, match="own"):
        Client(wrap(app)).get("/")
