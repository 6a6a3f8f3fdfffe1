"""What is hostile or broken stays inside the middleware, without Flask to catch it."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.events import TokenRefused, TokenRenewed
from flask_clustertoken.wsgi import cookies

from .test_middleware import COOKIE, DAY, Wrap, cookies_set, hello, text_of, wrap

__all__ = ["wrap"]


def ask(middleware: Any, cookie: str, path: str = "/") -> Any:
    return Client(middleware, use_cookies=False).get(path, headers={"Cookie": cookie})


@pytest.mark.parametrize(
    "header",
    [
        COOKIE + "=" + "x" * 65_536,
        "; ".join(f"{COOKIE}={number}" for number in range(3)),
        f"{COOKIE}=\x00",
        f"{COOKIE}=\xff\xfe",
        f"{COOKIE}=\u00c3\u00a9; \xff=\x80",
    ],
)
def test_garbage_is_nobody_and_is_cleared(wrap: Wrap, header: str) -> None:
    """64 KB, several cookies, NUL and foreign bytes are answered, and not kept."""
    answer = ask(wrap(hello), header)

    assert (answer.status_code, answer.text) == (200, "nobody")
    assert cookies_set(answer.headers) == [""]


@pytest.mark.parametrize("number", [4, 5, 1000])
def test_a_good_cookie_behind_a_flood_is_not_cleared(wrap: Wrap, number: int) -> None:
    """What was not looked at is not thrown away: whoever sends the flood logs nobody out."""
    middleware = wrap(hello)
    flood = [f"{COOKIE}={garbage}" for garbage in range(number)]

    answer = ask(middleware, "; ".join([*flood, f"{COOKIE}={text_of(middleware)}"]))

    assert (answer.status_code, answer.text) == (200, "nobody")
    assert cookies_set(answer.headers) == []


def test_a_store_or_a_parser_that_raises_is_nobody(
    wrap: Wrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception comes out of the middleware, and the cookie, maybe a good one, is kept."""
    middleware = wrap(hello)
    text = text_of(middleware)
    for error in (StoreUnavailable("the line was cut"), RuntimeError("a bug")):

        def broken(*args: Any, error: Exception = error, **more: Any) -> Any:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(middleware.authority, "authenticate", broken)
            answer = ask(middleware, f"{COOKIE}={text}")
        assert (answer.text, cookies_set(answer.headers)) == ("nobody", [])
    assert ask(middleware, f"{COOKIE}={text}").text == "alice"


def test_a_listener_that_raises_changes_nothing(wrap: Wrap, clock: ManualClock) -> None:
    """Who only listens decides nothing: not the refusal, not the renewal."""
    middleware = wrap(hello)
    text = text_of(middleware)

    def broken(event: Any) -> None:
        raise RuntimeError("a listener's own")

    for heard in (TokenRefused, TokenRenewed):
        middleware.authority.events.listen(heard, broken)
    clock.advance(2 * DAY)

    assert ask(middleware, f"{COOKIE}=garbage").text == "nobody"
    answer = ask(middleware, f"{COOKIE}={text}")
    assert answer.text == "alice"
    assert len(cookies_set(answer.headers)) == 1


def test_a_renewed_token_that_fits_no_cookie_spoils_no_answer(
    wrap: Wrap, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key has another name meanwhile and the text is longer: the old cookie stays."""
    middleware = wrap(hello)
    text = text_of(middleware)
    clock.advance(2 * DAY)
    monkeypatch.setattr(cookies, "COOKIE_LIMIT", len(COOKIE) + 1)

    answer = ask(middleware, f"{COOKIE}={text}")

    assert (answer.text, cookies_set(answer.headers)) == ("alice", [])


def test_two_apps_under_one_dispatcher_judge_for_themselves(wrap: Wrap) -> None:
    """Each has its own realm: a login of one is nobody in the other."""
    one, two = wrap(hello, realm="one"), wrap(hello, realm="two")
    site = DispatcherMiddleware(one, {"/two": two})
    text = text_of(one)

    assert ask(site, f"{COOKIE}={text}").text == "alice"
    assert ask(site, f"{COOKIE}={text}", "/two/").text == "nobody"
