"""Forks: what happens around one, said to one place, in one order.

Python calls what is to be done in a fork's child in the order in which it was registered, which
is the order of imports. Here it is by who holds whom: whoever uses something lets go of it first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

#: Who lets go, and in which order: stores, this process's part in the cluster, files that are
#: open and locked, adapters.
Turn = Literal["stores", "process", "files", "adapters"]
TURNS: tuple[Turn, ...] = ("stores", "process", "files", "adapters")

_before: list[Callable[[], None]] = []
_in_parent: list[Callable[[], None]] = []
_in_child: dict[Turn, list[Callable[[], None]]] = {turn: [] for turn in TURNS}


def in_child(turn: Turn, forget: Callable[[], None]) -> None:
    """Call *forget* in every child, when it is its *turn*. It must not raise, nor take a lock."""
    _in_child[turn].append(forget)


def around(before: Callable[[], None], in_parent: Callable[[], None]) -> None:
    """Call *before* in the forking thread, and *in_parent* in the parent once it is done."""
    _before.append(before)
    _in_parent.append(in_parent)


def _call_before() -> None:
    for call in reversed(_before):
        call()


def _call_in_parent() -> None:
    for call in _in_parent:
        call()


def _call_in_child() -> None:
    for turn in TURNS:
        for forget in _in_child[turn]:
            forget()


os.register_at_fork(
    before=_call_before, after_in_parent=_call_in_parent, after_in_child=_call_in_child
)
