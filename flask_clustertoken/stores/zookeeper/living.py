"""A kazoo client's beginning and end, both of which need threads that the system may not have."""

from __future__ import annotations

import logging
import threading
from typing import Any

from ...errors import NoThread, StoreUnavailable

_log = logging.getLogger(__name__)


def no_thread() -> StoreUnavailable:
    """What a call is told: to it, this is trouble of the store like any other."""
    return StoreUnavailable(str(NoThread("the connection to ZooKeeper")))


def begin(zk: Any) -> Any:
    """Let *zk* connect in the background; what kazoo sets once it did.

    :class:`StoreUnavailable` where there are not enough threads: it stays of no use then.
    """
    try:
        return zk.start_async()
    except RuntimeError as error:
        # Those that it has would stay. (They are ended only where it believes that it has all.)
        zk.handler._running = True
        zk.handler.stop()
        zk.close()
        raise no_thread() from error


def discard(zk: Any) -> threading.Thread:
    """Stop *zk* where it may hang without hurting anybody.

    :class:`StoreUnavailable` where there is no thread for that: then it is as it was.
    """

    def stop() -> None:
        try:
            zk.stop()
            zk.close()
        except Exception as error:
            _log.debug("a discarded ZooKeeper client did not stop: %s", type(error).__name__)

    thread = threading.Thread(target=stop, name="clustertoken-zk-stop", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise no_thread() from error
    return thread
