"""Which servers a stage of the tests runs against, as they say themselves.

``python -m tests.servers.versions redis`` prints it. Other servers than the distribution's are
named by environment variables: ``CLUSTERTOKEN_TEST_REDIS=valkey-server`` for the Valkey that a
Python package brings, ``CLUSTERTOKEN_TEST_POSTGRESQL=FOLDER`` for the programs of another
PostgreSQL.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.servers.redis import program
from tests.servers.running import CannotRun
from tests.servers.unprivileged import programs

#: By stage: the program that says its version.
SAYING: dict[str, Callable[[], Path]] = {
    "redis": lambda: Path(program("redis-server")),
    "postgresql": lambda: programs() / "postgres",
}


def version(stage: str) -> str:
    """Such as ``Redis 7.0.15``; ``""`` of a stage without such a server, or where it is missing."""
    try:
        command = [str(SAYING[stage]()), "--version"]
    except (KeyError, CannotRun):
        return ""
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    name, number = re.search(r"(Redis|Valkey|PostgreSQL)\D*([\d.]+)", said).groups()  # type: ignore[union-attr]
    return f"{name} {number}"


if __name__ == "__main__":
    print(version(sys.argv[1]))
