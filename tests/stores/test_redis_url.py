"""A Redis store's URL and options are checked before anything is opened."""

from __future__ import annotations

import pytest

from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.redis.codec import key_names
from flask_clustertoken.stores.redis.place import parse_options, parse_place

SECRET = "not-to-be-shown"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://cache", "redis://cache:6379"),
        ("redis://cache:6380/3", "redis://cache:6380/3"),
        ("redis://cache/0", "redis://cache:6379"),
        (f"redis://app:{SECRET}@cache/1", "redis://cache:6379/1"),
        (f"redis://:{SECRET}@cache", "redis://cache:6379"),
        (f"rediss://app:{SECRET}@[::1]:7000", "rediss://[::1]:7000"),
        (
            f"redis+sentinel://app:{SECRET}@h1,h2:26380/mymaster/2",
            "redis+sentinel://h1:26379,h2:26380/mymaster/2",
        ),
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
    place = parse_place("redis://a%40b:p%2F%3A%40w@cache/0")
    assert (place.username, place.password) == ("a@b", "p/:@w")
    assert parse_place("redis://cache").password is None
    assert parse_place("redis://:only@cache").username is None


@pytest.mark.parametrize(
    "url",
    [
        "redis:cache",
        "redis://",
        "redis://h1,h2",
        "redis://cache:0",
        "redis://cache:99999",
        "redis://cache:port",
        "redis://cache/one",
        "redis://cache/0/1",
        "redis://cache?db=1",
        "redis://ca che",
        "redis://::1",
        "redis://[::1",
        f"redis://app:{SECRET}@cache/x",
        "redis+sentinel://h1:26379",
        "redis+sentinel://h1:26379/",
        "redis+sentinel://h1,,h2/mymaster",
    ],
)
def test_a_wrong_url_names_the_setting_and_shows_no_password(url: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ConfigurationError, match="example: redis") as caught:
        open_store(url)
    assert caught.value.setting == "STORE"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 3},
        {"password": 7},
        {"tls": "yes"},
        {"ca": "/ca.pem", "tls": False},
        {"cert": "/c.pem"},
        {"replicas": -1},
        {"replicas": 1.5},
        {"replicas": True},
        {"settle": "long"},
        {"managed": "no"},
        {"prefix": "a{b}"},
        {"prefix": ""},
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object]) -> None:
    """With the setting ``STORE_OPTIONS``."""
    with pytest.raises(ConfigurationError, match=max(options)) as caught:
        open_store("redis://cache", options=options)
    assert caught.value.setting == "STORE_OPTIONS"


def test_a_password_is_given_once() -> None:
    """In the URL or in ``STORE_OPTIONS``."""
    with pytest.raises(ConfigurationError, match="URL too"):
        open_store("redis://app:one@cache", options={"password": "two"})


def test_tls_is_implied_by_what_needs_it() -> None:
    """By ``rediss:`` and by a certificate; a Sentinel's URL takes the option."""
    assert not parse_options({}, parse_place("redis://cache")).tls
    assert parse_options({}, parse_place("rediss://cache")).tls
    assert parse_options({"ca": "/ca.pem"}, parse_place("redis://cache")).tls
    assert parse_options({"tls": True}, parse_place("redis+sentinel://h1/m")).tls


def test_a_realm_has_one_hash_tag() -> None:
    """All its keys lie together, and no realm's name can leave its tag."""
    names = key_names("clustertoken", "a}b{c")
    assert {name[: name.index("}")] for name in names} == {"{clustertoken:a%7Db%7Bc"}
    assert len(set(names)) == len(names) == 9
