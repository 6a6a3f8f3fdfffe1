"""Calls that wake a node up, and what is seen without them; answers that are lost."""

from __future__ import annotations

import itertools
import logging
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import ClusterStore, NewEntry
from flask_clustertoken.stores.redis import scripts
from flask_clustertoken.stores.redis.codec import channel
from flask_clustertoken.stores.redis.driver import Command, Contact, Deadline, Lost
from tests.servers.redis import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.redis

SECRET = "one key for every host of the test, long enough"


@pytest.fixture
def opened(own_server: Server) -> Iterator[Callable[[], ClusterStore]]:
    """Another handle on the store, as another node has it."""
    with ExitStack() as stack:
        url = f"redis://127.0.0.1:{own_server.port}"
        yield lambda: stack.enter_context(open_store(url, timeout=5, options={"settle": 0}))


def listeners(server: Server) -> int:
    return int(server.ask("PUBSUB", "NUMSUB", channel("clustertoken", "default"))[1])


def test_an_append_calls_whoever_listens(
    own_server: Server, opened: Callable[[], ClusterStore]
) -> None:
    """Also after the line was cut, which is made again and is itself a reason to look."""
    store, other = opened(), opened()
    called = threading.Event()
    store.watch(called.set)
    for number in range(3):
        # (Called once when it listens.)
        assert called.wait(60)
        wait_until(lambda: listeners(own_server) == 1, 60)
        called.clear()
        other.append([NewEntry(f"e{number}", b"", None)])
        assert called.wait(60)
        called.clear()
        own_server.ask("CLIENT", "KILL", "TYPE", "pubsub")


def test_without_calls_a_node_looks_by_itself(own_server: Server) -> None:
    """Where the channel is forbidden, revocations are seen each ``look_every``, and no later."""
    own_server.ask(
        "ACL", "SETUSER", "app", "on", ">pw", "~*", "resetchannels", "+@all", "-subscribe"
    )
    settings = Settings(store=f"redis://app:pw@127.0.0.1:{own_server.port}", secret=(SECRET,))
    with (
        closing(TokenAuthority(settings)) as one,
        closing(TokenAuthority(settings)) as another,
    ):
        wait_until(lambda: one.readiness().fresh and another.readiness().fresh, 60)
        issued = one.issue_login("alice")
        assert another.authenticate(issued.text)
        one.revoke_subject("alice")
        wait_until(lambda: not another.authenticate(issued.text), 60)
        assert listeners(own_server) == 0


def test_a_login_is_two_round_trips_and_so_is_a_log_out(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One script changes what is to be changed. Before it a login reads the feed's head, for the
    credentials that it checks, and the log-out of an id reads its record."""
    settings = Settings(store=f"redis://127.0.0.1:{own_server.port}", secret=(SECRET,))
    asked: list[int] = []
    ask = Contact.ask

    def counted(contact: Contact, deadline: Deadline, *commands: Command) -> list[Any]:
        asked.append(threading.get_ident())
        return ask(contact, deadline, *commands)

    # (No thread of its own: an entry of the follower's would move the head in between.)
    with closing(TokenAuthority(settings, threaded=False)) as authority:
        authority.follower().step()
        ended = authority.issue_login("alice")
        authority.revoke_ids([ended.token.id])
        # (It has read what it wrote, as its thread does at the word from the server.)
        authority.follower().step()
        monkeypatch.setattr(Contact, "ask", counted)
        issued = authority.issue_login("alice")
        assert asked.count(threading.get_ident()) == 2
        asked.clear()
        authority.revoke_ids([issued.token.id])
        assert asked.count(threading.get_ident()) == 2


def unanswered(patch: pytest.MonkeyPatch) -> None:
    """The next thing that is asked is done, and the line ends before its answer."""
    ask = Contact.ask

    def deaf(contact: Contact, deadline: Deadline, *commands: Command) -> list[Any]:
        patch.setattr(Contact, "ask", ask)
        ask(contact, deadline, *commands)
        lost = Lost("the connection ended")
        lost.broken = True
        raise lost

    patch.setattr(Contact, "ask", deaf)


def test_an_answer_that_tells_who_did_it_is_not_made_up(
    opened: Callable[[], ClusterStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent again, ``delete``, ``withdraw`` and ``change_root`` would say that somebody else had
    been first. So a lost answer is trouble, and whoever asks again learns what is so."""
    store = opened()
    store.put("key", b"", None)
    store.announce("node", b"")
    old = store.root()
    new = replace(old, epoch="another")
    # (The server knows the scripts from here on, and does them at the first call.)
    assert [store.delete("-"), store.withdraw("-"), store.change_root(new, old)] == [False] * 3
    done = (
        lambda: store.delete("key"),
        lambda: store.withdraw("node"),
        lambda: store.change_root(old, new),
    )
    for call in done:
        unanswered(monkeypatch)
        with pytest.raises(StoreUnavailable, match="the connection ended"):
            call()
        assert call() is False
    assert store.get("key") is None
    assert store.nodes() == []
    assert store.root() == new


@contextmanager
def a_host(answer: bytes) -> Iterator[int]:
    """Somebody who takes connections and answers, a byte each tenth of a second; its port."""
    over = threading.Event()

    class Trickling(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                for byte in itertools.cycle(answer):
                    self.request.sendall(bytes([byte]))
                    if over.wait(0.1):
                        return
                over.wait(60)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Trickling) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        over.set()
        server.shutdown()


@pytest.mark.parametrize("answer", [b"", b"+"], ids=["silent", "trickling"])
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel"])
def test_a_call_ends_in_time_whatever_the_host_does(
    answer: bytes, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Connection set-up and signing on included; a byte now and then buys no more time. And the
    password is shown nowhere."""
    caplog.set_level(logging.DEBUG)
    with a_host(answer) as port:
        url = f"{scheme}://app:never-shown@127.0.0.1:{port}"
        url += "/mymaster" if scheme == "redis+sentinel" else ""
        with open_store(url, timeout=1) as store:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                store.append([NewEntry("a", b"", None)])
            # (Generous to a busy machine; what bytes would buy is no end at all.)
            assert time.monotonic() - began < 10
    cause: BaseException | None = caught.value
    while cause is not None:
        assert "never-shown" not in repr(cause) + str(cause)
        cause = cause.__cause__ or cause.__context__
    assert "never-shown" not in caplog.text + store.url + repr(store)


def test_each_script_stands_in_a_file_and_is_known_to_the_server_by_its_digest(
    own_server: Server,
) -> None:
    """It says first what it does; what the server makes of it is what we ask for."""
    names = sorted(
        one.name.removesuffix(".lua")
        for one in (resources.files("flask_clustertoken.stores.redis") / "lua").iterdir()
        if one.name != "common.lua"
    )
    assert len(names) > 20
    for name in names:
        script = scripts.script(name)
        assert own_server.ask("SCRIPT", "LOAD", script.text).decode() == script.digest
        file = resources.files("flask_clustertoken.stores.redis") / "lua" / f"{name}.lua"
        assert file.read_text().startswith("-- "), name
