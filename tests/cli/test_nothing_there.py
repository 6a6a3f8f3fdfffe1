"""What is not there: a command makes neither a store nor a key, and says what to look at."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cli.group import tokens_group
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import KeyFile, fingerprint

from .parts import Line, MakeLine

#: How each command is called that asks a store.
CALLS = {
    "list": (),
    "show": ("a" * 24,),
    "revoke": ("a" * 24,),
    "revoke-label": ("x",),
    "revoke-subject": ("alice",),
    "revoke-all": ("--yes",),
    "not-before": ("0",),
    "lock": ("--subject", "alice"),
    "unlock": ("--subject", "alice"),
    "locks": (),
    "audit": (),
    "issue-api": ("alice", "robot"),
    "nodes": (),
    "keys list": (),
    "keys sign": ("77",),
    "keys retire": ("77",),
    "keys drop": ("77", "--yes"),
    "files list": (),
    "files put": ("fonts", "a", __file__),
    "files get": ("fonts", "a", "-"),
    "files delete": ("fonts", "a", "--yes"),
    "once": ("backup", "1", "--", "true"),
    "purge": (),
    "restored": ("--yes",),
}
#: Those that are there for what is not there yet.
OTHERS = {"doctor", "keys stage", "migrate", "schema"}


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """``python -m flask_clustertoken``, as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "flask_clustertoken", *args],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_command_is_forgotten_here() -> None:
    """A new command says what it does where there is no store."""
    groups = {
        name: one for name, one in tokens_group.commands.items() if isinstance(one, click.Group)
    }
    inner = {f"{name} {one}" for name, group in groups.items() for one in group.commands}
    assert {*CALLS, *OTHERS} == {*tokens_group.commands, *inner} - groups.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_command_makes_no_store(make_line: MakeLine, name: str) -> None:
    """Where there is none it ends with 3, names what may be mistyped, and leaves nothing."""
    line = make_line()

    told = line(*name.split(), *CALLS[name], code=3).stderr

    assert f"no store of realm default at directory://{line.app.instance_path}/shared" in told
    assert "CLUSTERTOKEN_STORE and CLUSTERTOKEN_REALM" in told
    assert os.listdir(line.app.instance_path) == []


@pytest.mark.processes
def test_a_mistyped_realm_makes_no_store_beside_the_real_one(line: Line) -> None:
    """The other door names its own options."""
    folder = Path(line.app.instance_path) / "shared"
    before = sorted(os.listdir(folder))

    ran = run("--store", f"directory://{folder}", "--realm", "other", "revoke-subject", "alice")

    assert ran.returncode == 3
    assert "no store of realm other" in ran.stderr
    assert "--store and --realm" in ran.stderr
    assert sorted(os.listdir(folder)) == before


def test_migrate_seals_no_source_that_is_not_there(make_line: MakeLine, tmp_path: Path) -> None:
    """A mistyped FROM is neither made nor sealed, and TO is not made either."""
    line = make_line()
    source, target = tmp_path / "from", tmp_path / "to"

    told = line("migrate", f"directory://{source}", f"directory://{target}", "--yes", code=3).stderr

    assert "look at FROM" in told
    assert not source.exists()
    assert not target.exists()


# -- keys ------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_command_makes_no_key_file(line: Line, tmp_path: Path) -> None:
    """A mistyped ``--secret-file`` is a wrong setting: 4, with the ways out."""
    missing = tmp_path / "nofile"
    for command in (["keys"], ["keys", "list"], ["issue-api", "alice", "robot"]):
        ran = run("--store", line.authority.store.url, "--secret-file", str(missing), *command)
        assert ran.returncode == 4
        assert f"--secret-file: there is no key: {missing} does not exist" in ran.stderr
        assert "keys stage" in ran.stderr
        assert not missing.exists()


@pytest.mark.processes
def test_a_key_that_was_not_named_is_said_in_the_words_of_the_door(line: Line) -> None:
    """Without ``--secret-file`` that option is named, not a setting."""
    ran = run("--store", line.authority.store.url, "keys")

    assert ran.returncode == 4
    assert "--secret-file: no key was named" in ran.stderr
    assert "SECRET" not in ran.stderr


@pytest.mark.processes
def test_hints_are_in_the_words_of_the_door(line: Line) -> None:
    """Behind the other door there is no ``flask tokens``."""
    ran = run("--store", line.authority.store.url, "nodes", "--remove", "nobody")

    assert "python -m flask_clustertoken … nodes" in ran.stderr
    assert "flask tokens" not in ran.stderr


def test_a_named_key_file_is_never_generated(tmp_path: Path) -> None:
    """It was named because it exists elsewhere: a new key would log everybody out."""
    missing = tmp_path / "keys"
    settings = Settings(store="directory:", secret_file=str(missing))

    with pytest.raises(ConfigurationError, match="leave the setting out") as caught:
        TokenAuthority(settings, instance_path=str(tmp_path))

    assert caught.value.setting == "CLUSTERTOKEN_SECRET_FILE"
    assert not missing.exists()


@pytest.mark.processes
def test_stage_makes_the_first_key_file(tmp_path: Path) -> None:
    """With no key anywhere it makes the file, for its owner alone, and no store."""
    file, store = tmp_path / "keys", f"directory://{tmp_path}/shared"

    ran = run("--store", store, "--secret-file", str(file), "keys", "stage")

    assert ran.returncode == 0, ran.stderr
    (key,) = KeyFile(file).read()
    assert f"Made key {fingerprint(key)}, the first one" in ran.stdout
    assert key not in ran.stdout + ran.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (tmp_path / "shared").exists()


@pytest.mark.processes
def test_stage_makes_no_first_key_beside_the_realms_own(line: Line, tmp_path: Path) -> None:
    """A node has a key already: the file is to be copied, not made."""
    file = tmp_path / "keys"

    ran = run("--store", line.authority.store.url, "--secret-file", str(file), "keys", "stage")

    assert ran.returncode == 1
    assert line.authority.keys.held[0] in ran.stderr
    assert not file.exists()


@pytest.mark.processes
def test_a_key_file_that_cannot_be_written_is_a_setting(line: Line, tmp_path: Path) -> None:
    """Not a traceback."""
    line.authority.close()
    store = f"directory://{tmp_path}/shared"
    ran = run("--store", store, "--secret-file", "/proc/nowhere/keys", "keys", "stage")

    assert ran.returncode == 4
    assert "--secret-file: /proc/nowhere/keys cannot be written" in ran.stderr
