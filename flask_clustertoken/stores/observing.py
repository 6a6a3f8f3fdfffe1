"""Observing: how long each call to a store took, and how it ended, for whoever wants to know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

from ..errors import Conflict, StoreNotOpen
from .base import ClusterStore

#: An answer; a condition that did not hold, which is an answer as well; or trouble.
Outcome = Literal["ok", "conflict", "error"]

#: Told of each call: its name in the contract, seconds, and how it ended. It must not raise.
Observer = Callable[[str, float, Outcome], None]

#: The calls that may ask a server or a file. (``position`` may not, and each request makes it.)
CALLS = (
    "get_many",
    "get",
    "peek",
    "add",
    "put",
    "touch",
    "delete",
    "scan",
    "purge",
    "append",
    "read",
    "head",
    "ended",
    "trim",
    "announce",
    "vouch",
    "withdraw",
    "nodes",
    "peek_nodes",
    "root",
    "peek_root",
    "change_root",
)


def observe(store: ClusterStore, told: Observer) -> None:
    """Tell *told* of each call to this handle on the store, and to those that it gives out.

    A call that a store makes to itself belongs to the one that was asked for. Nothing else of the
    handle changes; it goes on being observed after a fork.
    """
    inside = threading.local()
    for name in CALLS:
        # (On the handle, not on its class: other handles of this process are not concerned.)
        setattr(store, name, _observed(getattr(store, name), name, told, inside))
    another = store.another

    def observed_another() -> ClusterStore:
        found = another()
        if found is not store:
            observe(found, told)
        return found

    vars(store)["another"] = observed_another


def _observed(
    call: Callable[..., Any], name: str, told: Observer, inside: threading.local
) -> Callable[..., Any]:
    @wraps(call)
    def observed(*args: Any, **named: Any) -> Any:
        if getattr(inside, "call", False):
            return call(*args, **named)
        inside.call = True
        started = time.perf_counter()
        outcome: Outcome = "error"
        try:
            answer = call(*args, **named)
            outcome = "ok"
            return answer
        except (Conflict, StoreNotOpen):
            outcome = "conflict"
            raise
        finally:
            inside.call = False
            told(name, time.perf_counter() - started, outcome)

    return observed
