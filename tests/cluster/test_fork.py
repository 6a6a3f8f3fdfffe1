"""Fork: a child is another node, and nothing that its parent knew is vouched for in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys

from flask_clustertoken.authority.authority import TokenAuthority
from flask_clustertoken.settings.settings import Settings

a = TokenAuthority(Settings.from_mapping({
    "CLUSTERTOKEN_STORE": "directory:///" + sys.argv[1].lstrip("/"),
    "CLUSTERTOKEN_SECRET": "k" * 40}))
issued = a.issue_login("alice")
assert a.authenticate(issued.text)
parent = a.follower()
read, write = os.pipe()
# A lock of the follower held by another thread at the moment of the fork must not matter.
parent._step_lock.acquire()
pid = os.fork()
if pid == 0:
    try:
        lines = [
            "parent fresh here: %s" % parent.fresh,
            "follower kept: %s" % (a.following is not None),
            "thread kept: %s" % (a.runtime.runner is not None),
        ]
        found = a.authenticate(issued.text)
        lines.append("accepted by itself: %s" % bool(found))
        lines.append("same node: %s" % (a.follower().node_id == parent.node_id))
        lines.append("nodes: %d" % len(a.nodes()))
        os.write(write, "\\n".join(lines).encode())
    finally:
        os._exit(0)
parent._step_lock.release()
os.close(write)
with os.fdopen(read) as pipe:
    print(pipe.read())
os.waitpid(pid, 0)
print("parent still fresh:", parent.fresh)
a.close()
"""


@pytest.mark.processes
def test_a_childs_authority_begins_with_nothing(tmp_path: Path) -> None:
    """It drops the lease, the answers and the thread, and joins as a node of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "shared")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:7] == [
        "parent fresh here: False",
        "follower kept: False",
        "thread kept: False",
        "accepted by itself: True",
        "same node: False",
        "nodes: 2",
        "parent still fresh: True",
    ]
