"""Worker processes on Redis servers that fail, and a Sentinel that says what a test wants."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.ensemble.any_store import StoreFleet
from tests.servers.redis import Server


class Said(socketserver.ThreadingTCPServer):
    """A Sentinel of ours: it knows what it is told.

    With one for each side of a network that is cut, each side has the primary that the
    Sentinels on that side would name.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, primary: Server, replicas: int) -> None:
        self.primary = primary
        self.replicas = replicas
        super().__init__(("127.0.0.1", 0), _Answering)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.server_address[1]}/mymaster"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answering(socketserver.StreamRequestHandler):
    server: Said

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while words := self._words():
                self.wfile.write(self._answer(words))

    def _words(self) -> list[str]:
        count = self.rfile.readline().strip()
        if not count:
            return []
        found = []
        for _ in range(int(count[1:])):
            length = int(self.rfile.readline()[1:])
            found.append(self.rfile.read(length + 2)[:-2].decode())
        return found

    def _answer(self, words: list[str]) -> bytes:
        if words[0].upper() != "SENTINEL":
            return b"-ERR unknown command\r\n"
        told = {
            "name": "mymaster",
            "ip": "127.0.0.1",
            "port": str(self.server.primary.port),
            "num-slaves": str(self.server.replicas),
        }
        texts = [text for pair in told.items() for text in pair]
        return f"*{len(texts)}\r\n".encode() + b"".join(
            f"${len(text)}\r\n{text}\r\n".encode() for text in texts
        )


def a_fleet(
    folder: Path, *urls: str, size: int = 3, skews: Sequence[float] = (), **options: object
) -> StoreFleet:
    """Some workers; *urls* says how each finds the store (the last one for the rest)."""
    said = {"managed": True, **options}
    return StoreFleet(None, "", folder, size, skews=skews, urls=urls, options=said)  # type: ignore[arg-type]


def cut_lines(server: Server) -> None:
    """End every client's connection: whoever may comes back."""
    for kind in ("normal", "pubsub"):
        server.ask("CLIENT", "KILL", "TYPE", kind)
