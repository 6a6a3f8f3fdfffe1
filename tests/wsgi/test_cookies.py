"""The one cookie: its name promises what its attributes keep."""

from __future__ import annotations

from typing import Any

import pytest

from flask_clustertoken.errors import ConfigurationError, ValueTooLarge
from flask_clustertoken.wsgi import Cookie
from flask_clustertoken.wsgi.cookies import CANDIDATES, COOKIE_LIMIT


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "__Host-clustertoken"),
        ({"domain": "a.example"}, "__Secure-clustertoken"),
        ({"path": "/app"}, "__Secure-clustertoken"),
        ({"secure": False}, "clustertoken"),
        ({"name": "__Host-x"}, "__Host-x"),
        ({"name": "__Secure-x"}, "__Secure-x"),
        ({"name": "__host-x"}, "__host-x"),
    ],
)
def test_the_name_gets_the_prefix_that_it_may_have(given: dict[str, Any], name: str) -> None:
    """``__Host-`` where browsers will hold it to this host, else ``__Secure-``, else nothing."""
    assert Cookie(**given).name == name


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": "__Host-x", "path": "/app"}, "COOKIE_NAME"),
        ({"name": "__HOST-x", "domain": "a.example"}, "COOKIE_NAME"),
        ({"name": "__Host-x", "secure": False}, "COOKIE_NAME"),
        ({"name": "__secure-x", "secure": False}, "COOKIE_NAME"),
        ({"samesite": "None", "secure": False}, "COOKIE_SECURE"),
        ({"partitioned": True, "secure": False}, "COOKIE_SECURE"),
    ],
)
def test_a_cookie_that_browsers_would_drop_is_refused(given: dict[str, Any], named: str) -> None:
    """What the name promises and the attributes break stops the start."""
    with pytest.raises(ConfigurationError) as caught:
        Cookie(**given)
    assert caught.value.setting == named


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("", []),
        ("ct=a", ["a"]),
        ("x=1; ct=a; y=2", ["a"]),
        ("x=1;ct=a;y=2", ["a"]),
        ("x=1;\tct=a\t; y=2", ["a"]),
        ("ct=a; ct=b", ["a", "b"]),
        ("ct=a; ct=a", ["a"]),
        ("xct=a", []),
        ("x-ct=a; ct2=b; ctx=c", []),
        ("xct=1; ct=2; ctx=3", ["2"]),
        ("CT=a", []),
        ('ct="a"', ["a"]),
        ('ct=""a""', ['"a"']),
        ('ct="a', ['"a']),
        ('ct="', ['"']),
        ("ct=a,b=c", ["a"]),
        ("b=c,ct=a", ["a"]),
        ('$Version="1", ct="a", b=c', ["a"]),
        ("ct=a,ct=b", ["a", "b"]),
        ('x="; ct=fake"; ct=a', ['fake"', "a"]),
        ("x=ct=a", []),
        ("ct=ct=a", ["ct=a"]),
        ("ct", []),
        ("ct=", [""]),
        ("ct=a=b==", ["a=b=="]),
        ("ct =a", []),
        ("x y ct=a", []),
    ],
)
def test_only_the_exact_name_is_read(header: str, values: list[str]) -> None:
    """Lookalikes before and behind and other letters are not our cookie."""
    cookie = Cookie(name="ct", secure=False)
    assert cookie.values({"HTTP_COOKIE": header}) == values


def test_no_header_is_no_cookie() -> None:
    """A request without any cookie has none of ours."""
    assert Cookie().values({}) == []


def test_a_flood_of_cookies_is_cut_off() -> None:
    """Of a thousand values under our name a few are looked at, the first ones."""
    header = "; ".join(f"ct={number}" for number in range(1000))
    found = Cookie(name="ct", secure=False).values({"HTTP_COOKIE": header})
    assert found == [str(number) for number in range(CANDIDATES)]


def test_ours_is_found_among_a_thousand_lookalikes() -> None:
    """Other cookies do not hide ours, however alike and however many."""
    header = "; ".join(f"xct={n}; ct{n}=1" for n in range(1000)) + "; ct=here"
    assert Cookie(name="ct", secure=False).values({"HTTP_COOKIE": header}) == ["here"]


def test_a_value_that_browsers_would_drop_is_an_error() -> None:
    """Name and value up to the limit pass; one byte more is an error that says what to do."""
    cookie = Cookie()
    room = COOKIE_LIMIT - len(cookie.name)
    assert "x" * room in cookie.header("x" * room, None)
    with pytest.raises(ValueTooLarge, match="TOKEN_STORE") as caught:
        cookie.header("x" * (room + 1), None)
    assert (caught.value.size, caught.value.limit) == (COOKIE_LIMIT + 1, COOKIE_LIMIT)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"domain": "a.example", "path": "/app"},
        {"samesite": "None", "partitioned": True},
        {"secure": False, "httponly": False, "samesite": "Strict"},
    ],
)
def test_clearing_repeats_the_attributes(given: dict[str, Any]) -> None:
    """A browser removes only a cookie with the same name, domain and path; the rest agrees too."""
    cookie = Cookie(**given)

    def attributes(header: str) -> set[str]:
        parts = [part.strip() for part in header.split(";")[1:]]
        return {part for part in parts if not part.startswith(("Max-Age", "Expires"))}

    made, cleared = cookie.header("v", 60), cookie.clearing_header()
    assert cleared.startswith(f"{cookie.name}=;")
    assert attributes(made) == attributes(cleared)
    assert "Max-Age=0" in cleared


def test_a_session_cookie_has_no_age() -> None:
    """Without an age the cookie ends with the browser."""
    assert "Max-Age" not in Cookie().header("v", None)
    assert "Max-Age=60" in Cookie().header("v", 60)
