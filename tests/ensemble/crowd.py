"""Many nodes in one process, each with a connection of its own; says how many are fresh.

``python -m tests.ensemble.crowd URL COUNT``: each line on standard input is answered by the
number of fresh nodes; the end of the input ends it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import PREFIX, Settings


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    settings = Settings.from_mapping(
        {PREFIX + "STORE": url, PREFIX + "SECRET": "one key for the whole crowd, all of it"}
    )
    nodes = [TokenAuthority(settings) for _ in range(count)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda node: node.follower(), nodes))
    for _ in sys.stdin:
        print(sum(node.follower().fresh for node in nodes), flush=True)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda node: node.close(), nodes))


if __name__ == "__main__":
    main()
