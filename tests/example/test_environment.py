"""``CLUSTERTOKEN_*`` variables: typed, and refused where they are unknown."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from example_app import environment
from flask_clustertoken.cluster import runtimes
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ALWAYS_RENEW", "yes", True),
        ("ALWAYS_RENEW", "TRUE", True),
        ("COOKIE_SECURE", "0", False),
        ("COOKIE_SECURE", "no", False),
        ("LIFETIME", "86401", 86_401),
        ("MAX_STALENESS", "2.5", 2.5),
        ("ABSOLUTE_LIFETIME", "none", None),
        ("TOKEN_LIMIT", "3", 3),
        ("COOKIE_DOMAIN", "", None),
        ("COOKIE_DOMAIN", "example.org", "example.org"),
        (
            "TRUSTED_ORIGINS",
            "https://a.example, https://b.example",
            ["https://a.example", "https://b.example"],
        ),
        ("EXPECTED_NODES", "one,two", ["one", "two"]),
        ("SECRET", "first-secret,second-secret", ["first-secret", "second-secret"]),
        ("STORE_OPTIONS", '{"tls": true}', {"tls": True}),
        ("TOKEN_STORE", "cookie", "cookie"),
        ("STORE", "memory:", "memory:"),
    ],
)
def test_a_variable_gets_the_type_of_its_setting(name: str, text: str, value: Any) -> None:
    """Numbers, flags, lists and mappings arrive as such."""
    found = environment.settings({f"CLUSTERTOKEN_{name}": text})
    assert found == {f"CLUSTERTOKEN_{name}": value}
    assert type(found[f"CLUSTERTOKEN_{name}"]) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LIFTIME", "3"),
        ("lifetime", "3"),
        ("", "3"),
        ("LIFETIME", "soon"),
        ("LIFETIME", "-5"),
        ("MAX_STALENESS", "nan"),
        ("MAX_STALENESS", "inf"),
        ("ALWAYS_RENEW", "maybe"),
        ("ALWAYS_RENEW", ""),
        ("STORE_OPTIONS", "["),
        ("STORE_OPTIONS", "[1]"),
        ("WHEN_STALE", "perhaps"),
        ("TOKEN_LIMIT", "0"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str) -> None:
    """Unknown names and impossible values raise an error of one line that begins with the name."""
    with pytest.raises(ConfigurationError) as caught:
        environment.settings({f"CLUSTERTOKEN_{name}": text})
    assert str(caught.value).startswith(f"CLUSTERTOKEN_{name}: ")
    assert "\n" not in str(caught.value)


def test_no_message_holds_what_may_be_secret() -> None:
    """A secret that is too short, or options that are no JSON, are not repeated."""
    for name, text in (("SECRET", "hush"), ("STORE_OPTIONS", '{"password": hush')):
        with pytest.raises(ConfigurationError) as caught:
            environment.settings({f"CLUSTERTOKEN_{name}": text})
        assert "hush" not in str(caught.value)


def test_every_setting_can_be_given() -> None:
    """Each default of the library, written as text, is read back as it was."""
    defaults = Settings()
    for field in dataclasses.fields(defaults):
        default = getattr(defaults, field.name)
        text = "{}" if field.name == "store_options" else str(default)
        if isinstance(default, tuple):
            text, default = "", []
        found = environment.settings({f"CLUSTERTOKEN_{field.name.upper()}": text})
        assert found[f"CLUSTERTOKEN_{field.name.upper()}"] == default, field.name


def test_other_variables_are_nobodys_business() -> None:
    """The tests' own switches and what others set are left alone."""
    others = {"CLUSTERTOKEN_TEST_FULL": "1", "PATH": "/bin", "FLASK_DEBUG": "1"}
    assert environment.settings(others) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("STORE", "directory:///etc/passwd"), ("SECRET_FILE", "/nowhere/key")]
)
def test_a_path_that_leads_nowhere_stops_the_start(
    name: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line that names the variable, instead of a start that answers 503 for ever."""
    monkeypatch.setenv("INSTANCE", str(tmp_path))
    monkeypatch.setenv(f"CLUSTERTOKEN_{name}", value)

    with pytest.raises(SystemExit), environment.one_line_errors():
        environment.check()

    assert capfd.readouterr().err.startswith(f"example_app: CLUSTERTOKEN_{name}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_look_at_the_settings_leaves_no_node_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn looks before it forks: each worker would join the cluster with what is left."""
    monkeypatch.setenv("INSTANCE", str(tmp_path))
    before = set(runtimes())

    environment.check()

    assert set(runtimes()) <= before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_a_wrong_variable_stops_the_process_with_one_line(tmp_path: Path) -> None:
    """The app, gunicorn and the plain WSGI site end with it, not with a traceback."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CLUSTERTOKEN_")}
    wrong = {**kept, "INSTANCE": str(tmp_path), "CLUSTERTOKEN_LIFTIME": "3"}
    for command in (
        ["-c", "from example_app import create_app; create_app()"],
        ["-c", "from example_app.plain_wsgi import application"],
        ["-m", "gunicorn", "-c", "example_app/gunicorn.conf.py", "example_app:create_app()"],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=wrong,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == environment.EXIT_STATUS
        assert done.stderr.splitlines() == [
            "example_app: CLUSTERTOKEN_LIFTIME: there is no such setting. "
            "Did you mean CLUSTERTOKEN_LIFETIME?"
        ]
