"""Which host and which worker process answers: shown on each page."""

from __future__ import annotations

import os
import socket
from typing import TypedDict


class ThisNode(TypedDict):
    name: str
    pid: int


def this_node() -> ThisNode:
    # The process id is asked for each time: with --preload the app is older than its worker.
    return {"name": os.environ.get("NODE_NAME") or socket.gethostname(), "pid": os.getpid()}
