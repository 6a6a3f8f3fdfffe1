"""Worker processes on Redis servers that fail, and a Sentinel that says what a test wants."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.ensemble.harness import Fleet, Process
from tests.servers.redis import Server
from tests.waiting import came_true, wait_until

#: Reads the history that was recorded, and says what it shows.
Judge = Callable[["RedisFleet", str], None]


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


@dataclass
class RedisFleet(Fleet):
    """Three workers; *urls* says how each finds the store (the last one for the rest)."""

    urls: Sequence[str] = ()
    options: dict[str, object] = field(default_factory=dict)

    def start_worker(
        self, *, cut: bool = False, index: int = 0, mutation: str | None = None
    ) -> Process:
        self._started += 1
        name = f"w{self._started}"
        url = self.urls[min(index, len(self.urls) - 1)]
        more = ["--options", json.dumps({"managed": True, **self.options})]
        worker = Process(name, url, self.folder / f"{name}.jsonl", *more)
        self.workers.append(worker)
        return worker


def a_fleet(folder: Path, *urls: str, size: int = 3, **options: object) -> RedisFleet:
    return RedisFleet(None, "", folder, size, urls=urls, options=dict(options))  # type: ignore[arg-type]


def fresh(worker: Process) -> bool:
    return bool(worker.ask("ready")["fresh"])


def said(worker: Process, made: dict[str, str]) -> str:
    answer = worker.ask("validate", token=made["token"], text=made["text"])
    return "accepted" if answer["accepted"] else str(answer["reason"])


def reason(worker: Process, made: dict[str, str]) -> str:
    """What a worker says that is fresh (on a busy machine it may be late with its proof)."""
    told: list[str] = []

    def is_fresh() -> bool:
        told.append(said(worker, made))
        return told[-1] != "stale"

    came_true(is_fresh, 60)
    return told[-1]


def cut_lines(server: Server) -> None:
    """End every client's connection: whoever may comes back."""
    for kind in ("normal", "pubsub"):
        server.ask("CLIENT", "KILL", "TYPE", kind)


def revoke_for(fleet: RedisFleet, seconds: float) -> int:
    """Log users in and out for a while; returns how many log-outs were acknowledged."""
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        worker = fleet.workers[done % len(fleet.workers)]
        made = fleet.login(worker)
        told = fleet.revoke(worker, made) if "error" not in made else made
        done += "error" not in told
    return done


def logged_in(fleet: RedisFleet, worker: Process) -> dict[str, str]:
    """A login there, once the store takes one."""
    made: dict[str, str] = {}

    def works() -> bool:
        made.clear()
        made.update(fleet.login(worker))
        return "error" not in made

    wait_until(works, 60)
    return made


def log_outs_go_on(fleet: RedisFleet) -> None:
    """Wait until somebody who logged in has been logged out again."""
    wait_until(lambda: revoke_for(fleet, 0.2) > 0, 60)
