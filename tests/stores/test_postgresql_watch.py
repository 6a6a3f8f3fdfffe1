"""The look at the head: no move is missed, whenever it comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed")

from flask_clustertoken.stores.postgresql.watch import HeadWatch


def test_what_came_before_the_first_look_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the word that the line is there, and before the first look, the head had moved."""
    happened: list[str] = []
    realm: Any = SimpleNamespace(options=SimpleNamespace(look=0.001), met="")
    watch = HeadWatch(realm, lambda: happened.append("told"), 1.0)

    def head() -> int:
        happened.append("looked")
        if happened.count("looked") == 3:
            watch.stop()
        return 5

    monkeypatch.setattr(watch, "_head", head)
    watch._look()
    assert happened == ["looked", "told", "looked", "looked"]
