"""Settings: each wrong value stops the start and says what to do."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.http import dump_cookie

from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings


def settings(**given: Any) -> Settings:
    return Settings.from_mapping({f"CLUSTERTOKEN_{name}": value for name, value in given.items()})


WRONG: list[tuple[str, Any]] = [
    ("STORE", ""),
    ("STORE", 5),
    ("STORE", "directory:///srv/app\0"),
    ("STORE_OPTIONS", []),
    ("TOKEN_STORE", "redis"),
    ("REALM", "a b"),
    ("REALM", ""),
    ("REALM", None),
    ("DEPLOYMENT", "../x"),
    ("SECRET", "short"),
    ("SECRET", ["x" * 40, "x" * 40]),
    ("SECRET", 5),
    ("SECRET", [b"x" * 40]),
    ("SECRET_FILE", 5),
    ("SECRET_FILE", "/etc/app\0/token_secret"),
    ("SECRET_FILE", "/etc/\ud800"),
    ("COOKIE_NAME", "a=b"),
    ("COOKIE_NAME", ""),
    ("COOKIE_NAME", "a b"),
    ("COOKIE_DOMAIN", "a b"),
    ("COOKIE_DOMAIN", "shop..example"),
    ("COOKIE_DOMAIN", "x" * 64 + ".example"),
    ("COOKIE_DOMAIN", ".".join(["x" * 63] * 4)),
    ("COOKIE_DOMAIN", "."),
    ("COOKIE_DOMAIN", "-"),
    ("COOKIE_DOMAIN", "..example.org"),
    ("COOKIE_DOMAIN", "example.org."),
    ("COOKIE_DOMAIN", "shop-.example"),
    ("COOKIE_PATH", "x"),
    ("COOKIE_PATH", "/a;b"),
    ("COOKIE_SECURE", "yes"),
    ("COOKIE_SECURE", 1),
    ("COOKIE_HTTPONLY", None),
    ("COOKIE_SAMESITE", "lax"),
    ("COOKIE_PARTITIONED", 0),
    ("LIFETIME", 0),
    ("LIFETIME", 1),
    ("LIFETIME", -5),
    ("LIFETIME", "7d"),
    ("LIFETIME", True),
    ("LIFETIME", 90.5),
    ("LIFETIME", 401 * 86_400),
    ("LIFETIME", float("nan")),
    ("LIFETIME", float("inf")),
    ("RENEW_AFTER", None),
    ("RENEW_AFTER", timedelta(days=8)),
    ("ALWAYS_RENEW", "no"),
    ("ABSOLUTE_LIFETIME", 0),
    ("ABSOLUTE_LIFETIME", 86_400),
    ("MAX_STALENESS", 0),
    ("MAX_STALENESS", 301),
    ("MAX_STALENESS", float("nan")),
    ("WHEN_STALE", "maybe"),
    ("RECORD_CACHE", 3601),
    ("TOKEN_LIMIT", 0),
    ("TOKEN_LIMIT", True),
    ("TOKEN_LIMIT", "5"),
    ("WHEN_LIMIT", "end_newest"),
    ("WHEN_REUSED", "off"),
    ("REUSE_GRACE", 0),
    ("REUSE_GRACE", 86_401),
    ("TRUSTED_ORIGINS", "app.example"),
    ("TRUSTED_ORIGINS", ["https://app.example/"]),
    ("TRUSTED_ORIGINS", [5]),
    ("TRUSTED_ORIGINS", "https://app.example:65536"),
    ("TRUSTED_ORIGINS", "https://app.example:0"),
    ("TRUSTED_ORIGINS", "https://*.example.com"),
    ("TRUSTED_ORIGINS", "https://user:pass@example.com"),
    ("TRUSTED_ORIGINS", "https://a.example,https://b.example"),
    ("TRUSTED_ORIGINS", "https://a.example https://b.example"),
    ("EXPECTED_NODES", "web1,web2"),
    ("MAX_STALENESS", 0.0001),
    ("LOGIN_VIEW", 5),
    ("API_PREFIX", "A-B"),
    ("EXPECTED_NODES", 5),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda one: repr(one)[:30])
def test_a_wrong_value_names_its_setting_and_the_remedy(name: str, value: Any) -> None:
    """Each wrong value is an error that names the key as it was written, and a remedy."""
    with pytest.raises(ConfigurationError) as caught:
        settings(**{name: value})
    assert caught.value.setting == f"CLUSTERTOKEN_{name}"
    assert caught.value.remedy
    assert str(caught.value).startswith(f"CLUSTERTOKEN_{name}: ")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"TOKEN_LIMIT": 3, "TOKEN_STORE": "cookie"}, "TOKEN_LIMIT"),
        ({"SECRET": "x" * 40, "SECRET_FILE": "/x"}, "SECRET_FILE"),
        ({"COOKIE_SAMESITE": "None", "COOKIE_SECURE": False}, "COOKIE_SECURE"),
        ({"COOKIE_PARTITIONED": True, "COOKIE_SECURE": False}, "COOKIE_SECURE"),
        ({"COOKIE_NAME": "__Host-x", "COOKIE_DOMAIN": "a.example"}, "COOKIE_NAME"),
        ({"COOKIE_NAME": "__Secure-x", "COOKIE_SECURE": False}, "COOKIE_NAME"),
        ({"WHEN_REUSED": "end", "TOKEN_STORE": "cookie"}, "WHEN_REUSED"),
        ({"WHEN_REUSED": "report", "TOKEN_STORE": "cookie"}, "WHEN_REUSED"),
        ({"REUSE_GRACE": 60, "TOKEN_STORE": "cookie"}, "REUSE_GRACE"),
        ({"LIFETIME": 3600}, "RENEW_AFTER"),
        ({"LIFETIME": timedelta(days=60)}, "ABSOLUTE_LIFETIME"),
    ],
)
def test_contradictions_are_named(given: dict[str, Any], named: str) -> None:
    """Two settings that contradict each other stop the start, with the remedy."""
    with pytest.raises(ConfigurationError) as caught:
        settings(**given)
    assert caught.value.setting == f"CLUSTERTOKEN_{named}"
    assert caught.value.remedy


def test_origins_are_spelled_as_browsers_do() -> None:
    """A port that is the scheme's own is left out, and letters are small."""
    made = settings(
        TRUSTED_ORIGINS=["https://App.Example:443", "http://a.example:80", "http://[::1]:8080"]
    )
    assert made.trusted_origins == ("https://app.example", "http://a.example", "http://[::1]:8080")


def test_a_lifetime_alone_says_what_else_to_set() -> None:
    """Where one setting meets the default of another, both are named."""
    with pytest.raises(ConfigurationError, match=r"RENEW_AFTER.*LIFETIME \(28800 s\)"):
        settings(LIFETIME=8 * 3600)
    with pytest.raises(ConfigurationError, match=r"ABSOLUTE_LIFETIME.*None.*LIFETIME"):
        settings(LIFETIME=timedelta(days=60))


@pytest.mark.parametrize("lifetime", [2, 3, 6, 7, 60, 86_400])
def test_the_remedy_for_a_lifetime_is_one_that_is_accepted(lifetime: int) -> None:
    """Whoever does what the message says has a setting that works."""
    with pytest.raises(ConfigurationError, match="such as") as caught:
        settings(LIFETIME=lifetime, RENEW_AFTER=lifetime)
    said = int(caught.value.remedy.rstrip(".").rpartition(" ")[2])
    assert settings(LIFETIME=lifetime, RENEW_AFTER=said).renew_after == said


@pytest.mark.parametrize(
    "domain",
    [
        "example.org",
        ".example.org",
        "a-b.Example",
        "xn--bcher-kva.example",
        "localhost",
        "10.0.0.1",
        "x" * 63 + ".example",
        "." + ".".join(["x" * 63] * 3 + ["x" * 61]),
    ],
)
def test_a_domain_that_a_browser_knows_can_be_in_a_cookie(domain: str) -> None:
    """With a dot in front or without, also the longest one: werkzeug writes what is accepted."""
    made = settings(COOKIE_DOMAIN=domain)
    assert made.cookie_domain == domain
    assert "Domain=" in dump_cookie("name", "value", domain=domain)


def test_a_key_that_resembles_nothing_is_not_guessed_at() -> None:
    """A wild guess would send people the wrong way."""
    with pytest.raises(ConfigurationError) as caught:
        settings(XYZZY=1)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("LIFETIM", "LIFETIME"),
        ("TOKENSTORE", "TOKEN_STORE"),
        ("COOKIE_SAME_SITE", "COOKIE_SAMESITE"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(key: str, meant: str) -> None:
    """A misspelled key is an error that says what was meant, never silently ignored."""
    with pytest.raises(ConfigurationError, match=f"Did you mean CLUSTERTOKEN_{meant}") as caught:
        settings(**{key: 1})
    assert caught.value.setting == f"CLUSTERTOKEN_{key}"


def test_a_key_in_small_letters_is_unknown() -> None:
    """One spelling: a key that Flask would not have read is not read here either."""
    with pytest.raises(ConfigurationError, match="CLUSTERTOKEN_lifetime"):
        Settings.from_mapping({"CLUSTERTOKEN_lifetime": 5})


def test_other_keys_are_left_alone() -> None:
    """The rest of ``app.config`` is nobody's business."""
    assert Settings.from_mapping({"SECRET_KEY": "x", "DEBUG": 1}) == Settings()


def test_durations_may_be_timedeltas() -> None:
    """Seconds or a ``timedelta``, whichever reads better."""
    made = settings(LIFETIME=timedelta(days=2), MAX_STALENESS=timedelta(milliseconds=2500))
    assert (made.lifetime, made.max_staleness) == (172_800, 2.5)
    assert isinstance(made.lifetime, int)


def test_settings_are_frozen_and_hide_the_secret() -> None:
    """Nobody changes a setting later, and no ``repr`` shows a key."""
    made = settings(SECRET=["s3cret-" * 6, "t" * 40])
    with pytest.raises(FrozenInstanceError):
        made.realm = "x"  # type: ignore[misc]
    assert "s3cret" not in repr(made)
    assert made.secret == ("s3cret-" * 6, "t" * 40)


def test_wrong_secrets_are_not_shown() -> None:
    """The error about a short key does not print it."""
    with pytest.raises(ConfigurationError) as caught:
        settings(SECRET="hunter2")
    assert "hunter2" not in str(caught.value)


def test_what_must_agree_holds_no_secret_and_misses_nothing() -> None:
    """Realm and deployment together compare each setting but the store's and the keys'."""
    made = settings(SECRET="s3cret-" * 6)
    together = made.to_agree_in_realm() | made.to_agree_in_deployment()
    assert "s3cret" not in str(together)
    names = {name.upper() for name in Settings.__dataclass_fields__}
    apart = {"STORE", "STORE_OPTIONS", "SECRET", "SECRET_FILE", "REALM", "DEPLOYMENT"}
    assert set(together) == names - apart
