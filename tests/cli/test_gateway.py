"""``python -m flask_clustertoken gateway``: what it hands on to gunicorn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flask_clustertoken.cli.commands import gateway
from flask_clustertoken.cli.program import program

from .parts import APART


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command; gives what gunicorn would have got: its arguments and environment."""
    got: list[Any] = []

    def execve(program: str, arguments: list[str], environment: dict[str, str]) -> None:
        got[:] = [arguments, environment]
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    for name in [one for one in os.environ if one.startswith("CLUSTERTOKEN_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, code: int = 0, **variables: str) -> tuple[Result, list[str], Any]:
        env = {f"CLUSTERTOKEN_{name}": value for name, value in variables.items()}
        result = CliRunner(**APART).invoke(program, arguments, env=env)
        assert result.exit_code == code, (result.output, result.stderr)
        return result, *(got or [[], {}])

    return run


def test_it_serves_by_the_environment(call: Any) -> None:
    """The app's variables, and the gateway's own."""
    _, arguments, found = call(
        *("gateway", "--bind", "127.0.0.1:9123", "--workers", "3"),
        STORE="redis://redis1",
        REALM="shop",
        GATEWAY_TRUSTED="10.0.0.0/8",
    )
    assert arguments[1:3] == ["-m", "gunicorn"]
    assert "127.0.0.1:9123" in arguments
    assert arguments[-1] == "flask_clustertoken.gateway:create_app()"
    assert found["CLUSTERTOKEN_REALM"] == "shop"
    assert found["CLUSTERTOKEN_GATEWAY_TRUSTED"] == "10.0.0.0/8"


def test_options_in_front_win(call: Any, tmp_path: Path) -> None:
    """Those that were given; the others' defaults do not hide a variable."""
    options = tmp_path / "options.json"
    options.write_text('{"username": "app"}')
    _, _, found = call(
        *("--store", "redis://redis2", "--store-options", str(options), "--expect", "a"),
        *("--expect", "b", "gateway"),
        STORE="redis://redis1",
        REALM="shop",
    )
    assert found["CLUSTERTOKEN_STORE"] == "redis://redis2"
    assert found["CLUSTERTOKEN_STORE_OPTIONS"] == '{"username": "app"}'
    assert found["CLUSTERTOKEN_EXPECTED_NODES"] == "a,b"
    assert found["CLUSTERTOKEN_REALM"] == "shop"


def test_an_instance_folder_names_store_and_key(call: Any, tmp_path: Path) -> None:
    """As it does for every other command."""
    tmp_path.joinpath("token_secret").write_text("x")
    folder = ("--instance-path", str(tmp_path))
    _, _, found = call("--store", "directory:", *folder, "gateway")
    assert found["CLUSTERTOKEN_STORE"] == f"directory://{tmp_path}/shared"
    _, _, found = call("--store", "redis://redis1", *folder, "gateway")
    assert found["CLUSTERTOKEN_SECRET_FILE"] == str(tmp_path / "token_secret")


def test_more_is_gunicorns(call: Any) -> None:
    """What stands behind ``--``."""
    _, arguments, _ = call("gateway", "--", "--timeout", "9", STORE="redis://redis1")
    assert arguments[-3:-1] == ["--timeout", "9"]


@pytest.mark.parametrize("wrong", ["LIFETIME", "LIFTIME"])
def test_a_wrong_variable_is_said_before_anything_is_started(call: Any, wrong: str) -> None:
    """With 4, in one sentence."""
    result, arguments, _ = call("gateway", code=4, STORE="redis://redis1", **{wrong: "soon"})
    assert f"CLUSTERTOKEN_{wrong}" in result.stderr
    assert not arguments


def test_without_gunicorn_it_says_what_to_do(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any WSGI server will do."""
    monkeypatch.setattr(gateway, "find_spec", lambda name: None)
    result, _, _ = call("gateway", code=4, STORE="redis://redis1")
    assert "pip install gunicorn" in result.stderr
