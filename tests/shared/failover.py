"""What servers share while another server takes over: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.shared.fileinfo import PIECE
from tests.waiting import wait_until

from .places import Endless, Place, looking


def nothing_is_lost(place: Place, fails: Callable[[], object]) -> None:
    """*fails* comes in the midst of an upload, and returns when another server leads."""
    content = os.urandom(3 * PIECE + 1)
    with looking(place) as node, looking(place) as other:
        files = other.files("a")
        node.files("a").put("k", content)
        node.shared("lists").update("l", lambda found: [*found, 1], [])
        assert node.shared("tasks").once("backup", "1")
        with node.shared("tasks").lease("index", 30) as lease:
            assert lease.held
            stored = False
            with suppress(StoreUnavailable):
                stored = files.put("k", Endless(4, fails)).size == 4 * PIECE

            def answers() -> bool:
                with suppress(StoreUnavailable):
                    other.shared("lists").update("l", lambda found: [*found, 2])
                    return True
                return False

            wait_until(answers, 60)
            found = other.shared("lists").get("l")
            assert (found[0], set(found[1:])) == (1, {2})
            read = files.open("k").read()
            assert read == content or len(read) == 4 * PIECE
            assert len(read) == 4 * PIECE or not stored
            assert not other.shared("tasks").once("backup", "1")
            assert not other.shared("tasks").lease("index", 30).take()
        follower = other.shared("tasks").lease("index", 30)
        wait_until(follower.take, 120)
        assert follower.fence > lease.fence
        assert files.put("k", Endless(2)).size == 2 * PIECE
        assert node.files("a").stat("k") == files.stat("k")


def what_was_lost_is_not_mixed_up(place: Place, loses: Callable[[], object]) -> None:
    """*loses* lets a server take over that lacks the last writes, which nobody could promise.

    A slot may run again, and a lease have another holder at once: under a higher fence all the
    same, so that whoever checks it refuses the first one.
    """
    with looking(place) as node:
        node.shared("lists").set("l", [1])
        lease = node.shared("tasks").lease("index", 30)
        assert lease.take()
        assert node.shared("tasks").once("backup", "1")
        loses()
    with looking(place) as other:
        follower = other.shared("tasks").lease("index", 30)
        wait_until(follower.take, 60)
        assert other.shared("tasks").once("backup", "1")
        assert follower.fence > lease.fence
