"""``flask tokens`` where a wrong setting leaves no app."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup, ScriptInfo

from flask_clustertoken.cli.entrance import tokens_entrance
from flask_clustertoken.extension import ClusterToken
from flask_clustertoken.tokens import KeyFile

from .parts import APART

ROOT = Path(__file__).resolve().parent.parent.parent


def flask(path: Path, *args: str, extension: bool = True, **settings: Any) -> Result:
    """``flask tokens …`` for an app with these settings, which Flask has to load first."""

    def create_app() -> Flask:
        app = Flask("app", instance_path=str(path))
        app.config.update({f"CLUSTERTOKEN_{key}": value for key, value in settings.items()})
        if extension:
            app.extensions["clustertoken test"] = ClusterToken(app)
        return app

    group = FlaskGroup(create_app=create_app)
    group.add_command(tokens_entrance)
    info = ScriptInfo(create_app=lambda: create_app(), set_debug_flag=False)
    return CliRunner(**APART).invoke(group, ["tokens", *args], obj=info)


def test_it_is_declared() -> None:
    """Flask finds it by its entry point."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")

    assert parser["options.entry_points"]["flask.commands"].split() == [
        "tokens",
        "=",
        "flask_clustertoken.cli.entrance:tokens_entrance",
    ]


def test_where_there_is_an_app_it_is_the_apps_own_group(tmp_path: Path) -> None:
    """With the app's settings, its help and its exit codes."""
    told = flask(tmp_path, "list")
    assert told.exit_code == 3
    assert str(tmp_path) in told.stderr
    assert "revoke-subject" in flask(tmp_path, "--help").stdout


@pytest.mark.parametrize("command", [["list"], ["revoke-all"], ["keys", "stage"]])
def test_a_wrong_setting_is_one_sentence_and_4(tmp_path: Path, command: list[str]) -> None:
    """No traceback, whatever was asked."""
    told = flask(tmp_path, *command, LIFETIME="60d")

    assert told.exit_code == 4
    assert told.stderr.startswith("Error: CLUSTERTOKEN_LIFETIME: '60d' is not a duration.")
    assert len(told.stderr.splitlines()) == 1


def test_doctor_explains_a_wrong_setting(tmp_path: Path) -> None:
    """It is a problem with a remedy, for people and for programs."""
    told = flask(tmp_path, "doctor", LIFETIME="60d")
    assert told.exit_code == 1
    assert "PROBLEM  settings: CLUSTERTOKEN_LIFETIME: '60d' is not a duration." in told.stdout

    found = json.loads(flask(tmp_path, "doctor", "--json", LIFETIME="60d").stdout)
    assert found["level"] == "problem"
    assert found["findings"][0]["remedy"]


def test_a_missing_key_file_can_be_made_without_the_app(tmp_path: Path) -> None:
    """The app does not start without it, so its own command could not make it."""
    file = tmp_path / "keys"
    missing = {"SECRET_FILE": str(file)}

    assert "keys stage" in flask(tmp_path, "list", **missing).stderr
    assert f"{file} does not exist" in flask(tmp_path, "doctor", **missing).stdout
    assert flask(tmp_path, "keys", **missing).exit_code in (3, 4)
    assert not file.exists()

    made = flask(tmp_path, "keys", "stage", **missing)
    assert made.exit_code == 0, made.stderr
    assert KeyFile(file).read()


def test_an_app_without_the_extension_says_so(tmp_path: Path) -> None:
    """The command is there wherever the library is installed."""
    told = flask(tmp_path, "list", extension=False)

    assert told.exit_code == 2
    assert "init_app" in told.stderr
