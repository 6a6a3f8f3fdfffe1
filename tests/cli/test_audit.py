"""The command on the audit trail, in an app with the embedded store."""

from __future__ import annotations

import getpass

import pytest

from .parts import Line, MakeLine


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
    assert getpass.getuser() in shown
    lines = kept.json("audit")["lines"]
    assert [one["event"] for one in lines] == ["revoked_subject", "locked", "revoked_subject"]
    assert lines[0]["operator"].startswith(getpass.getuser() + "@")
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
