"""Locks: what those of others cost a token that was seen, and one that is looked at anew.

In process, on a store in memory: a seen token's check asks no store, whichever it is. The locks
are learnt as the follower learns them; each is for another subject.
"""

from __future__ import annotations

import gc
import time
from functools import partial
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.revocations import FeedEntry
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.base import Entry
from flask_clustertoken.tokens import Token, digest, view_keys

from .apps import SECRET
from .measure import Work, compare
from .newcomer import resident
from .run import Result, Run, markdown_table
from .svg import lines

TITLE = "Locks"

SIZES = (0, 1_000, 10_000, 100_000)


def with_locks(count: int) -> tuple[TokenAuthority, float]:
    """A node that knows of so many locks, and the megabytes that they take."""
    authority = TokenAuthority(Settings(store="memory:", secret=(SECRET,)))
    view = authority.follower().view
    gc.collect()
    before, now = resident(), time.time()
    first = int(now * 1e6)
    for number in range(count):
        name = f"user-{number}"
        marks = (digest("subject:login", name), digest("subject:api", name))
        notice = FeedEntry("lock", now, marks, ("login", "api"))
        view.learn(Entry(first + number, 0, str(number), b"", None), notice)
    gc.collect()
    return authority, resident() - before


def works(authority: TokenAuthority) -> tuple[Work, Work]:
    """The check of a seen token, and a look at all that is known of one."""
    issued = authority.issue_login("alice")
    view, token = authority.follower().view, issued.token
    assert isinstance(authority.authenticate(issued.text), Token)

    def look() -> None:
        keys = view_keys(token)
        view.lock_on(token, time.time(), keys)
        view.covers(token, keys)

    return partial(authority.authenticate, issued.text), look


def measure(run: Run) -> Result:
    rounds = run.rounds(300, 25)
    seen: dict[str, Work] = {}
    looks: dict[str, Work] = {}
    found: dict[str, dict[str, Any]] = {}
    authorities = []
    for size in SIZES:
        run.say(f"{size:,} locks")
        authority, memory = with_locks(size)
        authorities.append(authority)
        seen[str(size)], looks[str(size)] = works(authority)
        found[str(size)] = {"memory_mb": round(memory, 1)}
    bare = TokenAuthority(Settings(store="memory:", secret=(SECRET,)))
    bare_seen, bare_look = works(bare)
    for name, yardstick, all_of_them in (("seen", bare_seen, seen), ("look", bare_look, looks)):
        run.say(f"{rounds} rounds")
        for size, one in compare(yardstick, all_of_them, rounds=rounds)[1].items():
            found[size][name] = one.row()
    for authority in (*authorities, bare):
        authority.close()
    return {"rounds": rounds, "sizes": found}


def table(result: Result) -> str:
    rows = []
    for size, one in result["sizes"].items():
        row = [f"{int(size):,}" if int(size) else "none (the control)"]
        for name in ("seen", "look"):
            cost = one[name]
            row.append(f"{cost['ratio']:.2f} [{cost['ratio_p10']:.2f} – {cost['ratio_p90']:.2f}]")
            row.append(f"{cost['quiet']:.2f}")
        rows.append([*row, f"{one['memory_mb']:.1f}"])
    head = ["locks of others", "seen token, ratio to none", "quiet µs"]
    head += ["a look into the view, ratio", "quiet µs", "MB"]
    return f"{result['rounds']} rounds.\n\n" + markdown_table(head, rows)


def plots(result: Result) -> dict[str, str]:
    sizes = {size: one for size, one in result["sizes"].items() if int(size)}
    series = {
        title: [(float(size), one[name]["quiet"]) for size, one in sizes.items()]
        for title, name in (("seen token", "seen"), ("look into the view", "look"))
    }
    return {"locks": lines("What locks of others cost a check", series, across="locks", up="µs")}
