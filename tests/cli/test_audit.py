"""The command on the audit trail, in an app with the embedded store."""

from __future__ import annotations

import json
import logging
import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flask_clustertoken.audit import AuditLine, KeptAudit, actor, at_the_shell
from flask_clustertoken.cli.program import program
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.cluster import Node, this_host
from flask_clustertoken.stores import open_store
from tests.waiting import wait_until

from .parts import APART, Line, MakeLine

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "flask_clustertoken.audit")
    return caplog


def logged_lines(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    name = "flask_clustertoken.audit"
    return [json.loads(one.getMessage()) for one in log.records if one.name == name]


def kept_in(folder: Path) -> list[AuditLine]:
    """What the embedded store in *folder* keeps of the trail, the newest first."""
    with open_store(f"directory://{folder}", realm="default", instance_path="") as store:
        return list(KeptAudit(store, SystemClock()).newest())


@pytest.fixture
def kept(make_line: MakeLine) -> Line:
    line = make_line(AUDIT="store")
    line.authority.follower()
    return line


def test_what_commands_do_is_in_the_trail_by_the_account_that_typed_them(kept: Line) -> None:
    """The newest first; by subject and by event."""
    kept("revoke-subject", "alice")
    kept("lock", "--subject", "mallory")
    kept("revoke-subject", "bob")
    shown = kept("audit").stdout
    assert ME in shown
    lines = kept.json("audit")["lines"]
    assert [one["event"] for one in lines] == ["revoked_subject", "locked", "revoked_subject"]
    assert lines[0]["operator"].endswith(f"{ME}@{this_host()}")
    assert [one["subjects"] for one in kept.json("audit", "-s", "alice")["lines"]] == [["alice"]]
    assert [one["event"] for one in kept.json("audit", "--event", "locked")["lines"]] == ["locked"]


def test_pages_say_that_there_is_more(kept: Line) -> None:
    """And the last one does not."""
    for _ in range(3):
        kept("revoke-subject", "alice")
    first = kept("audit", "--limit", "2")
    assert "--limit 2 --page 2" in first.stderr
    assert len(kept.json("audit", "--limit", "2", "--page", "2")["lines"]) == 1
    assert (
        "with --limit 0 there is one" in kept("audit", "--limit", "0", "--page", "2", code=2).stderr
    )


def test_where_nothing_is_kept_that_is_said(line: Line) -> None:
    """With the setting that changes it."""
    line("revoke-subject", "alice")
    said = line("audit")
    assert "Nothing is kept." in said.stdout
    assert "AUDIT is log" in said.stderr


def test_housekeeping_by_hand_leaves_its_lines(kept: Line, tmp_path: Path) -> None:
    """What an operator does to the store itself, with what came of it."""
    store = kept.authority.store
    font = tmp_path / "font"
    font.write_bytes(b"a font")
    kept("files", "put", "fonts", "f.woff2", str(font))
    kept("files", "delete", "fonts", "f.woff2", "--yes")
    kept("files", "delete", "fonts", "f.woff2", "--yes", code=1)
    kept("purge")
    mine = Node.decode(store.nodes()[0])
    gone = replace(mine, id="f" * 32, host="web9", pid=9, max_staleness=0.0)
    store.announce(gone.id, gone.encode())
    kept("nodes", "--remove", "web9:9")
    kept("nodes", "--remove", "web9:9", code=1)
    kept("restored", "--yes")
    lines = kept.json("audit")["lines"]
    assert [one["event"] for one in lines] == [
        "restored",
        "node_removed",
        "purged",
        "file_deleted",
        "file_stored",
    ]
    assert all(one["by"] == "command" and one["outcome"] == "done" for one in lines)
    assert all(one["operator"].endswith(f"{ME}@{this_host()}") for one in lines)
    details = [one["detail"] for one in lines]
    assert details[1] == f"web9:9 ({'f' * 32})"
    assert details[2].endswith("entries of the feed")
    assert details[3] == "fonts: f.woff2"
    assert details[4].startswith("fonts: f.woff2 (")


@pytest.mark.long
def test_each_step_of_a_rotation_leaves_a_line(kept: Line) -> None:
    """Also for the key that only verifies from then on."""
    first = kept.json("keys")["keys"][0]["id"]
    second = kept.json("keys", "stage")["key"]
    wait_until(lambda: second in kept.authority.keys.held)
    kept.authority.follower().step_now()
    wait_until(lambda: kept.json("keys")["keys"] and _on_every_node(kept, second))
    kept("keys", "sign", second)
    lines = kept.json("audit")["lines"]
    assert [(one["event"], one["detail"]) for one in lines] == [
        ("key_signing", second),
        ("key_verifying", first),
        ("key_staged", second),
    ]


def _on_every_node(line: Line, key: str) -> bool:
    return any(one["id"] == key and not one["lacking"] for one in line.json("keys")["keys"])


def test_the_first_key_of_a_realm_leaves_a_line(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    """In the log: there is no store yet that could keep it, and none is made for it."""
    shared, key = tmp_path / "shared", tmp_path / "key"
    realm = ["--store", f"directory://{shared}", "--secret-file", str(key), "--audit", "store"]
    ran = CliRunner(**APART).invoke(program, [*realm, "keys", "stage", "--json"])
    made = json.loads(ran.stdout)["key"]
    (said,) = logged_lines(logged)
    assert (said["event"], said["detail"], said["by"]) == ("key_made", made, "command")
    assert not shared.exists()


def test_a_migration_leaves_a_line_where_everybody_looks_for_it_then(
    kept: Line, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    """In the new store, behind what came along from the old one; repeated, that too."""
    kept("revoke-subject", "alice")
    source, target = Path(kept.app.instance_path) / "shared", tmp_path / "new"
    words = ["migrate", f"directory://{source}", f"directory://{target}", "--yes"]
    kept(*words)
    newest, *older = kept_in(target)
    assert (newest.event, newest.outcome, newest.by) == ("migrated", "done", "command")
    assert newest.operator.endswith(f"{ME}@{this_host()}")
    assert newest.detail == f"directory://{source} to directory://{target}"
    assert [one.event for one in older] == ["revoked_subject"]
    kept(*words)
    assert [one["outcome"] for one in logged_lines(logged)] == ["done", "done", "repeated"]


def test_a_migration_that_failed_leaves_a_line_that_says_so(
    kept: Line, tmp_path: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the old store while that is in use, and in the log alone once it is sealed."""
    from flask_clustertoken.cli.commands import cluster

    source, target = Path(kept.app.instance_path) / "shared", tmp_path / "new"
    words = ["migrate", f"directory://{source}", f"directory://{target}", "--yes"]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "migrate", interrupted)
        kept(*words, code=1)
    (line,) = kept_in(source)
    assert (line.event, line.outcome) == ("migrated", "failed")
    assert line.detail.endswith("KeyboardInterrupt")
    kept(*words)
    kept("migrate", f"directory://{source}", f"directory://{tmp_path / 'third'}", "--yes", code=1)
    assert [one["outcome"] for one in logged_lines(logged)] == ["failed", "done", "failed"]
    assert "was moved to" in logged_lines(logged)[-1]["detail"]


@pytest.mark.parametrize("said", ["", "no number", str(2**32 - 1), None])
def test_who_typed_is_asked_of_the_system(
    said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the environment, which says what anybody likes."""
    monkeypatch.setattr(actor, "SIGNED_IN", tmp_path / "loginuid")
    if said is not None:
        (tmp_path / "loginuid").write_text(said)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    assert at_the_shell().operator == f"{ME}@{this_host()}"


def test_who_became_somebody_else_is_named_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed in as the one, and made the other by sudo; a number where an account has no name."""
    monkeypatch.setattr(actor, "SIGNED_IN", tmp_path / "loginuid")
    (tmp_path / "loginuid").write_text(str(os.getuid()))
    assert at_the_shell().operator == f"{ME}@{this_host()}"
    (tmp_path / "loginuid").write_text("123456789")
    assert at_the_shell().operator == f"123456789 as {ME}@{this_host()}"


def test_without_flask_a_file_can_be_named_for_the_lines(line: Line, tmp_path: Path) -> None:
    """Nothing else logs there; one is added for each act, and none for a look."""
    log = tmp_path / "audit.log"
    url = line.authority.store.url
    program_of = ["--store", url, "--audit-log", str(log)]
    runner = CliRunner(**APART)
    for words in (["revoke-subject", "alice"], ["list"], ["purge"]):
        done = runner.invoke(program, [*program_of, *words])
        assert done.exit_code == 0, done.output
    lines = [json.loads(one) for one in log.read_text().splitlines()]
    assert [one["event"] for one in lines] == ["revoked_subject", "purged"]
    runner.invoke(program, ["--store", url, "revoke-subject", "bob"])
    assert len(log.read_text().splitlines()) == 2


def test_a_file_for_lines_that_cannot_be_written_stops_the_command(
    line: Line, tmp_path: Path
) -> None:
    """Before it does anything of which there would be no line."""
    url, log = line.authority.store.url, tmp_path / "nowhere" / "audit.log"
    text = line.authority.issue_login("alice").text
    words = ["--store", url, "--audit-log", str(log), "revoke-subject", "alice"]
    done = CliRunner(**APART).invoke(program, words)
    assert done.exit_code == 4
    assert "--audit-log" in done.stderr
    assert line.authority.authenticate(text)
    words = ["--store", url, "--audit-log", str(tmp_path / "log"), "gateway"]
    assert "gunicorn's to log" in CliRunner(**APART).invoke(program, words).stderr
