"""A process that appends to the embedded store in the folder that it is told.

``appender.py FOLDER NAME COUNT``: prints the number of each entry once it is acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from flask_clustertoken.stores.base import NewEntry, Put
from flask_clustertoken.stores.directory import DirectoryStore


def main() -> None:
    folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # (Whether a busy disk answers in time is nothing that these tests ask.)
    with DirectoryStore(folder, timeout=60) as store:
        for number in range(count):
            key = f"{name}-{number}"
            (seq,) = store.append([NewEntry(key, b"body", None)], [Put(key, b"", None)])
            print(seq, flush=True)


if __name__ == "__main__":
    main()
