"""Another process of the cluster, which says when it first refused a token.

Beside that it has a bare kazoo watch on a znode, or a bare subscription of redis-py where the
address is a Redis server's URL: what the server alone needs to tell somebody. Or nothing.
Moments are those of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import Refusal

from .apps import SECRET

#: Seconds between two requests with the token.
PACE = 0.0005


class Watcher:
    """The end that gives the orders."""

    def __init__(self, context: Any, url: str, addresses: str, znode: str) -> None:
        self._pipe, other = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=watch, args=(url, addresses, znode, other), daemon=True
        )
        self._process.start()

    def order(self, what: str, value: str) -> None:
        self._pipe.send((what, value))

    def answer(self) -> Any:
        if not self._pipe.poll(60):
            raise TimeoutError("a watching process did not answer")
        return self._pipe.recv()

    def stop(self) -> None:
        self.order("stop", "")
        self._process.join(15)
        if self._process.is_alive():
            self._process.kill()


def watch(url: str, addresses: str, znode: str, pipe: Connection) -> None:
    logging.getLogger("flask_clustertoken").setLevel(logging.CRITICAL)
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    authority = TokenAuthority(Settings(store=url, secret=(SECRET,)))
    stop, heard = _beside(addresses, znode)
    while not authority.readiness().fresh:
        time.sleep(0.05)
    pipe.send("ready")
    while True:
        what, value = pipe.recv()
        if what == "stop":
            break
        if what == "token":
            pipe.send(bool(authority.authenticate(value)))
            pipe.send(_first_refusal(authority, value))
        elif what == "watch":
            pipe.send(True)
            heard.wait(value)
            pipe.send(heard.at)
    authority.close()
    stop()


def _first_refusal(authority: TokenAuthority, text: str) -> tuple[float, float]:
    """When it was first refused, and when the last request began that was accepted."""
    end = time.monotonic() + 30
    accepted = 0.0
    while True:
        began = time.monotonic()
        found = authority.authenticate(text)
        now = time.monotonic()
        if isinstance(found, Refusal) and found.reason == "revoked":
            return now, accepted
        if now > end:
            raise TimeoutError("it was never refused")
        if not isinstance(found, Refusal):
            accepted = began
        time.sleep(PACE)


class _Heard:
    def __init__(self) -> None:
        self.value = ""
        self.at = 0.0
        self._moved = threading.Condition()

    def tell(self, value: str) -> None:
        with self._moved:
            self.value, self.at = value, time.monotonic()
            self._moved.notify_all()

    def wait(self, value: str) -> None:
        with self._moved:
            if not self._moved.wait_for(lambda: self.value == value, 30):
                raise TimeoutError("the watch never fired")


def _beside(addresses: str, znode: str) -> tuple[Callable[[], None], _Heard]:
    if not addresses:
        return (lambda: None), _Heard()
    bare = _bare_subscription if addresses.startswith("redis:") else _bare_watch
    return bare(addresses, znode)


def _bare_subscription(url: str, channel: str) -> tuple[Callable[[], None], _Heard]:
    import redis

    heard = _Heard()
    subscription = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(**{channel: lambda told: heard.tell(told["data"].decode())})
    return subscription.run_in_thread(sleep_time=1.0, daemon=True).stop, heard


def _bare_watch(addresses: str, znode: str) -> tuple[Callable[[], None], _Heard]:
    from kazoo.client import KazooClient

    client = KazooClient(addresses)
    client.start(20)
    heard = _Heard()

    @client.DataWatch(znode)  # type: ignore[untyped-decorator]
    def changed(data: bytes | None, _: Any) -> None:
        heard.tell((data or b"").decode())

    return client.stop, heard
