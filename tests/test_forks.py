"""Forks: who lets go in a child does so in one order, whatever was imported first."""

from __future__ import annotations

import os

import pytest

from flask_clustertoken import forks


def test_a_child_forgets_in_the_order_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores, the process, files, adapters: however they came, and each in its own turn."""
    monkeypatch.setattr(forks, "_in_child", {turn: [] for turn in forks.TURNS})
    said: list[str] = []
    read, write = os.pipe()
    for turn in reversed(forks.TURNS):
        forks.in_child(turn, lambda turn=turn: said.append(turn))  # type: ignore[misc]
    forks.in_child("adapters", lambda: os.write(write, " ".join(said).encode()) and None)

    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)

    with os.fdopen(read) as pipe:
        assert pipe.read() == "stores process files adapters"
    assert said == []


def test_what_is_done_before_a_fork_is_undone_in_the_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it in reverse, after it in the parent in order."""
    monkeypatch.setattr(forks, "_before", [])
    monkeypatch.setattr(forks, "_in_parent", [])
    monkeypatch.setattr(forks, "_in_child", {turn: [] for turn in forks.TURNS})
    said: list[str] = []
    for name in ("one", "two"):
        forks.around(
            lambda name=name: said.append(f"before {name}"),  # type: ignore[misc]
            lambda name=name: said.append(f"after {name}"),  # type: ignore[misc]
        )

    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

    assert said == ["before two", "before one", "after one", "after two"]
