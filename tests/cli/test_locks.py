"""The commands on locks, in an app with the embedded store."""

from __future__ import annotations

import pytest

from flask_clustertoken.errors import Locked

from .parts import Line


def test_lock_unlock_and_locks(line: Line) -> None:
    """What is locked is shown until it is unlocked, and a running node goes by it at once."""
    text = line.authority.issue_login("alice").text
    said = line("lock", "--subject", "alice", "--message", "Call the office.", "--wait").stdout
    assert "Locked subject alice, until it is unlocked" in said
    assert "In force on this host" in said
    assert not line.authority.authenticate(text)
    with pytest.raises(Locked, match=r"Call the office\."):
        line.authority.issue_login("alice")

    shown = line("locks").stdout
    assert "alice" in shown
    assert "Call the office." in shown
    (lock,) = line.json("locks")["locks"]
    assert (lock["what"], lock["name"], lock["until"]) == ("subject", "alice", None)

    assert line.json("unlock", "--subject", "alice")["unlocked"] == {"subject": "alice"}
    assert line.authority.issue_login("alice")
    assert line("locks").stdout.strip() == "No locks."


def test_a_lock_on_everyone_asks_first(line: Line) -> None:
    """Without a terminal that is an error; ``--yes`` is the answer."""
    args = ("lock", "--everyone", "--except-label", "role:admin")
    assert "--yes" in line(*args, code=2).stderr
    assert line.json("locks")["locks"] == []
    line(*args, "--yes")
    (lock,) = line.json("locks")["locks"]
    assert (lock["what"], lock["except_labels"]) == ("everyone", ["role:admin"])
    line("unlock", "--everyone")


def test_until_has_a_zone(line: Line) -> None:
    """A time that may be another one elsewhere is refused, and so is one that is over."""
    assert "zone" in line("lock", "-s", "a", "--until", "2099-05-01T12:00:00", code=2).stderr
    assert "past" in line("lock", "-s", "a", "--until", "2001-05-01T12:00:00Z", code=2).stderr
    said = line("lock", "-s", "a", "--until", "2099-05-01T12:00:00+02:00").stdout
    assert "until 2099-05-01 10:00:00Z" in said
    assert line.json("locks")["locks"][0]["until"] == 4081312800.0


@pytest.mark.parametrize("args", [(), ("--subject", "a", "--everyone")])
def test_a_lock_is_on_one_thing(line: Line, args: tuple[str, ...]) -> None:
    """None, or two of the four, is a mistake that writes nothing."""
    for command in ("lock", "unlock"):
        assert "one of --subject" in line(command, *args, code=2).stderr


def test_what_is_not_locked_cannot_be_unlocked(line: Line) -> None:
    """A typing error in a name is told, and not taken for a success."""
    line("lock", "--label", "oidc:s1")
    assert "No lock stands on label oidc:s2" in line("unlock", "--label", "oidc:s2", code=1).stderr
