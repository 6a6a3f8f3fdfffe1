"""gunicorn on a store of several hosts: every kind of worker, each server a host of its own."""

from __future__ import annotations

from pathlib import Path

from tests.gunicorn.server import GunicornServer

SECRET = "one key for every host of the test, long enough"

WAYS = {
    "sync": (),
    "gthread": ("--worker-class", "gthread", "--threads", "8"),
    "gevent": ("--worker-class", "gevent"),
    "preload": ("--preload",),
    "preloaded gevent": ("--preload", "--worker-class", "gevent"),
}


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
