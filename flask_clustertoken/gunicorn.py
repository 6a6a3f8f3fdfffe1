"""Hooks for a ``gunicorn.conf.py``: each worker is ready early and leaves cleanly.

::

    from flask_clustertoken.gunicorn import post_worker_init, worker_exit

Without them everything still holds: a worker joins at its first look at a token, and what a
killed worker leaves behind is swept. With them the first request does not wait, and the list
of nodes shows no worker that left.
"""

from __future__ import annotations

from typing import Any

from .authority import authorities


def post_worker_init(worker: Any) -> None:
    """The application is loaded: open the store and take up the feed in this worker."""
    for authority in authorities():
        if authority.active:
            readiness = authority.readiness()
            if not readiness.fresh:
                worker.log.warning("tokens: this worker is not fresh yet: %s", readiness.trouble)


def worker_exit(server: Any, worker: Any) -> None:
    """Give the lease up first, then leave the list of nodes."""
    for authority in authorities():
        authority.close()
