"""The commands on shared files and tasks, in an app with the embedded store."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.shared.fileinfo import PIECE

from .parts import Line

CONTENT = os.urandom(2 * PIECE + 5)


@pytest.fixture(autouse=True)
def begun(line: Line) -> None:
    """The app was started once."""
    line.authority.follower()


def test_a_file_goes_in_and_comes_out(line: Line, tmp_path: Path) -> None:
    """As the app stores and reads it; what is there is listed, by name and all of them."""
    source, target = tmp_path / "a.woff2", tmp_path / "out"
    source.write_bytes(CONTENT)
    assert line("files", "list").stdout.strip() == "No files."
    assert f"{len(CONTENT):,} bytes" in line("files", "put", "fonts", "a.woff2", str(source)).stdout
    assert line.authority.files("fonts").open("a.woff2").read() == CONTENT
    line.authority.files("logos").put("l", b"x", "image/png")
    both = line.json("files", "list")["files"]
    assert [(one["name"], one["key"], one["size"]) for one in both] == [
        ("fonts", "a.woff2", len(CONTENT)),
        ("logos", "l", 1),
    ]
    (one,) = line.json("files", "list", "fonts")["files"]
    assert one["content_type"] == "font/woff2"
    assert "a.woff2" in line("files", "list", "fonts").stdout
    assert line("files", "get", "fonts", "a.woff2", str(target)).stdout.startswith("Wrote")
    assert target.read_bytes() == CONTENT
    assert line("files", "get", "fonts", "a.woff2", "-").stdout_bytes == CONTENT
    assert line.json("files", "get", "fonts", "a.woff2", str(target))["sha256"] == one["sha256"]
    assert sorted(tmp_path.glob("tmp*")) == []


def test_stdin_is_a_file_too(line: Line) -> None:
    """Of whatever length, with a type and a life of its own."""
    done = line.app.test_cli_runner().invoke(
        args=["tokens", "files", "put", "a", "k", "-", "--type", "text/csv", "--ttl", "2d"],
        input=io.BytesIO(CONTENT),
    )
    assert done.exit_code == 0, done.output
    info = line.authority.files("a").stat("k")
    assert info is not None
    assert (info.size, info.content_type) == (len(CONTENT), "text/csv")


def test_what_is_not_there_is_said(line: Line, tmp_path: Path) -> None:
    """With the way to see what is; nothing is written."""
    for command in ("get", "delete"):
        more = [str(tmp_path / "out")] if command == "get" else ["--yes"]
        assert "files list" in line("files", command, "a", "k", *more, code=1).stderr
    assert not (tmp_path / "out").exists()
    assert "SOURCE" in line("files", "put", "a", "k", str(tmp_path / "no"), code=2).stderr


def test_deleting_asks_first(line: Line) -> None:
    """Without a terminal that is an error; ``--yes`` is the answer."""
    line.authority.files("a").put("k", b"x")
    assert "--yes" in line("files", "delete", "a", "k", code=2).stderr
    assert line.json("files", "delete", "a", "k", "--yes")["deleted"] == {"name": "a", "key": "k"}
    assert line.authority.files("a").stat("k") is None


def test_a_file_that_breaks_off_leaves_the_target_as_it_was(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its name there is the old one, and beside it nothing."""
    line.authority.files("a").put("k", CONTENT)
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def cut(*_: object) -> bytes:
        raise StoreUnavailable("cut")

    monkeypatch.setattr("flask_clustertoken.shared.reading._Pieces._load", cut)
    line("files", "get", "a", "k", str(target), code=3)
    assert target.read_bytes() == b"old"
    assert sorted(tmp_path.glob("tmp*")) == []


def test_json_and_the_file_do_not_share_stdout(line: Line) -> None:
    """That is said before anything is read."""
    line.authority.files("a").put("k", b"x")
    assert "stdout" in line("files", "get", "a", "k", "-", "--json", code=2).stderr


def test_what_is_no_key_is_a_wrong_call(line: Line, tmp_path: Path) -> None:
    """Said in a sentence."""
    source = tmp_path / "x"
    source.write_bytes(b"12")
    assert "key of a shared file" in line("files", "put", "a", "", str(source), code=2).stderr


def test_the_first_one_runs_the_command(line: Line, tmp_path: Path) -> None:
    """And ends with its code; the others say nothing, run nothing and end with 0."""
    out = tmp_path / "ran"
    program = f"open({str(out)!r}, 'a').write('x'); raise SystemExit(7)"
    run = ("once", "report", "2026-11-30", "--", sys.executable, "-c", program)
    line(*run, code=7)
    assert line(*run).stdout == ""
    assert out.read_text() == "x"
    assert not line.authority.shared("tasks").once("report", "2026-11-30")
    assert line.authority.shared("tasks").once("report", "2026-12-01")
    assert line.authority.shared("other").once("report", "2026-11-30")


def test_without_a_command_the_code_says_who_is_first(line: Line) -> None:
    """0 for one, 1 for the others; for whatever stands behind ``&&``."""
    assert line("once", "report", "1").stdout == "First.\n"
    assert "Not the first" in line("once", "report", "1", code=1).stdout
    assert line.json("once", "report", "2")["first"] is True
    assert line.json("once", "report", "2", code=1)["first"] is False
    said = line("once", "report", "3", "--json", "--", sys.executable, "-c", "print('x')").stdout
    assert json.loads(said) == {
        "name": "tasks",
        "key": "report",
        "slot": "3",
        "first": True,
        "code": 0,
    }


def test_a_command_that_cannot_be_run_is_named(line: Line) -> None:
    """Its slot is taken all the same: that is said too."""
    said = line("once", "report", "1", "--", "/no/such/program", code=1).stderr
    assert "/no/such/program" in said
    assert "by hand" in said
