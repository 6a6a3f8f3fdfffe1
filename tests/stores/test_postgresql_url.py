"""A PostgreSQL store's URL and options are checked before anything is opened."""

from __future__ import annotations

import pytest

from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.postgresql.place import parse_options, parse_place

SECRET = "not-to-be-shown"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db/app", "postgresql://db:5432/app"),
        ("postgresql://app@db:6432/app", "postgresql://db:6432/app"),
        (f"postgresql://app:{SECRET}@db/my%20app", "postgresql://db:5432/my%20app"),
        (f"postgresql://app:{SECRET}@[::1]:7000/app", "postgresql://[::1]:7000/app"),
        (
            f"postgresql://app:{SECRET}@h1,h2:5433/app?target_session_attrs=read-write",
            "postgresql://h1:5432,h2:5433/app?target_session_attrs=read-write",
        ),
        (
            f"postgresql://h1/app?sslmode=verify-full&sslpassword={SECRET}&user=app"
            f"&password={SECRET}",
            "postgresql://h1:5432/app?sslmode=verify-full",
        ),
        (
            "postgresql:///app?host=/var/run/postgresql&port=5433",
            "postgresql:///app?host=/var/run/postgresql&port=5433",
        ),
        ("postgresql:///app", "postgresql:///app"),
        ("postgresql://db/app?connect_timeout=10", "postgresql://db:5432/app"),
    ],
)
def test_every_form_is_read_and_shown_without_its_password(url: str, shown: str) -> None:
    """What a store says of itself opens the same one, for whoever signs on by other ways."""
    store = open_store(url)
    assert store.url == shown
    assert store.url.startswith(store.scheme + ":")
    assert open_store(store.url).url == shown
    assert SECRET not in repr(store.place)  # type: ignore[attr-defined]


def test_a_password_may_hold_any_sign() -> None:
    """Written with per cent signs, as in every URL."""
    place = parse_place("postgresql://a%40b:p%2F%3A%40w@db/app")
    assert (place.username, place.password) == ("a@b", "p/:@w")
    assert parse_place("postgresql://app@db/app").password is None
    assert parse_place("postgresql://db/app").username is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:db",
        "postgresql://",
        "postgresql://db",
        "postgresql://db/",
        "postgresql://db:0/app",
        "postgresql://db:99999/app",
        "postgresql://db:port/app",
        "postgresql://db/app#here",
        "postgresql://db/app/more",
        "postgresql://d b/app",
        "postgresql://::1/app",
        "postgresql://[::1/app",
        "postgresql://h1/app?host=h2",
        "postgresql://h1/app?port=none",
        "postgresql://h1/app?pgbouncer=true",
        f"postgresql://app:{SECRET}@db:x/app",
        f"postgresql://app:{SECRET}@db/",
    ],
)
def test_a_wrong_url_names_the_setting_and_shows_no_password(url: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ConfigurationError, match="example: postgresql://") as caught:
        open_store(url)
    assert caught.value.setting == "STORE"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 3},
        {"password": 7},
        {"password": ""},
        {"schema": "pg_catalog"},
        {"schema": "x" * 64},
        {"connections": 0},
        {"connections": True},
        {"look": 0},
        {"settle": -1},
        {"demoted_after": "30"},
        {"listen": "redis://db"},
        {"listen": f"postgresql://app:{SECRET}@db:x/app"},
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object]) -> None:
    """And its value is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        open_store("postgresql://db/app", options=options)
    assert caught.value.setting == "STORE_OPTIONS"
    assert repr(next(iter(options))) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_role_is_given_once() -> None:
    """In the URL or in the options."""
    place = parse_place(f"postgresql://app:{SECRET}@db/app")
    for name in ("username", "password"):
        with pytest.raises(ConfigurationError, match="in the URL too"):
            parse_options({name: "other"}, place)
    options = parse_options({"password": SECRET}, parse_place("postgresql://app@db/app"))
    assert options.password == SECRET
    assert SECRET not in repr(options)
