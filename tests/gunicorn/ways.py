"""gunicorn on a store of several hosts: every kind of worker, each server a host of its own."""

from __future__ import annotations

from pathlib import Path

from tests.gunicorn.server import GunicornServer
from tests.rounds import FULL

SECRET = "one key for every host of the test, long enough"

WAYS = {
    "sync": (),
    "gthread": ("--worker-class", "gthread", "--threads", "8"),
    "gevent": ("--worker-class", "gevent"),
    "preload": ("--preload",),
    "preloaded gevent": ("--preload", "--worker-class", "gevent"),
}

#: On a store where other tests log in and out on several hosts: with ``sync`` workers the show, and
#: with ``gthread`` those that revoke on a random worker. There these two are of the full run.
ON_A_STORE = tuple(WAYS) if FULL else ("gevent", "preload", "preloaded gevent")


def serve(
    folder: Path,
    url: str,
    *options: str,
    node: str = "one",
    workers: int = 2,
    hooks: bool = True,
    **settings: object,
) -> GunicornServer:
    """The example on the store at *url*, as the host *node*."""
    (folder / node).mkdir(exist_ok=True)
    return GunicornServer(
        folder / node,
        *options,
        workers=workers,
        node=node,
        hooks=hooks,
        settings={"STORE": url, "SECRET": SECRET, **settings},
    )
