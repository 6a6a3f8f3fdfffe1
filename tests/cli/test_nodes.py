"""The table of nodes: what it shows of each, and that it fits a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask_clustertoken.cluster import Node

from .parts import Line


def announce(line: Line, name: str, number: int, **more: Any) -> None:
    """One more node, like this one but for *more*."""
    store = line.authority.store
    mine = next(node for node in map(Node.decode, store.nodes()) if node.host != "web2")
    other = replace(mine, id=name * 32, host="web2", pid=number, **more)
    store.announce(other.id, other.encode())


def test_the_table_says_how_old_each_view_is_and_where_it_differs(line: Line) -> None:
    """Age, applied number, keys and the names of what differs, within eighty columns."""
    alike = line("nodes").stdout
    assert " old" in alike
    assert "DIFFERS IN" not in alike
    assert "On all of them: deployment default" in alike
    announce(line, "a", 11)
    announce(line, "b", 4711, keys=("f00ba4f00ba4", "1"), signing="f00ba4f00ba4")
    announce(line, "c", 4712, realm_settings={"COOKIE_NAME": "other"})

    said = line("nodes", code=1)

    rows = {row.split()[0]: row for row in said.stdout.splitlines()}
    assert rows["b" * 8].split()[-3:] == ["f00ba4f00ba4", "2", "SECRET"]
    assert "COOKIE_NAME" in rows["c" * 8]
    assert rows["a" * 8].endswith("–")
    assert "f00ba4f00ba4" in said.stderr
    assert all(len(row) <= 80 for row in said.stdout.splitlines() if "COOKIE" not in row)
