"""What makes a script one step: each part that is left out is noticed by the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha1

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import Conflict
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Add, Change, ClusterStore, NewEntry, Put
from flask_clustertoken.stores.redis import scripts
from flask_clustertoken.stores.redis.feed import RedisFeed
from flask_clustertoken.testing.contract import StoreContract

pytestmark = pytest.mark.redis

MakeStore = Callable[[], ClusterStore]

CONTRACT = StoreContract()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_store(url: str, realm: str, clock: ManualClock) -> Iterator[MakeStore]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_store(url, realm=realm, clock=clock, timeout=15))


def without(patch: pytest.MonkeyPatch, name: str, text: str, instead: str) -> None:
    """The script *name* with *instead* where *text* stands."""

    def changed(asked: str) -> scripts.Script:
        whole = scripts.script(asked)
        if asked != name:
            return whole
        assert text in whole.text
        other = whole.text.replace(text, instead)
        return scripts.Script(name, other, sha1(other.encode(), usedforsecurity=False).hexdigest())

    patch.setattr("flask_clustertoken.stores.redis.realm.script", changed)


def in_two_steps(patch: pytest.MonkeyPatch) -> None:
    """Whether a record may be added is looked at first; the rest is a step of its own."""
    whole, both = RedisFeed.append, threading.Barrier(2)

    def append(
        feed: RedisFeed, entries: Sequence[NewEntry], changes: Sequence[Change], above: int
    ) -> list[int]:
        added = [one for one in changes if isinstance(one, Add)]
        (there,) = feed._asking.run("get", *[one.key for one in added])
        with suppress(threading.BrokenBarrierError):
            both.wait(20)
        if there is not None:
            raise Conflict(added[0].key)
        return whole(feed, entries, [Put(a.key, a.value, a.expires_at) for a in added], above)

    patch.setattr(RedisFeed, "append", append)


def test_the_contract_notices_a_transaction_in_two_steps(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that add at once, both would be told that they did."""
    CONTRACT.test_of_two_transactions_that_add_one_wins(make_store)
    for store in (make_store(), make_store()):
        store.delete("only-one")
    in_two_steps(monkeypatch)
    with pytest.raises(AssertionError):
        CONTRACT.test_of_two_transactions_that_add_one_wins(make_store)


def test_the_contract_notices_a_head_that_is_not_looked_at(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login would be written although a revocation came in between."""
    without(monkeypatch, "append", "ARGV[i] == 'head' and", "false and")
    with pytest.raises(AssertionError):
        CONTRACT.test_of_two_that_append_under_one_head_one_wins(make_store)


def test_the_contract_notices_an_id_that_is_not_known_again(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent again after a lost answer would be done twice."""
    known = "redis.call('HEXISTS', IDS, ARGV[first]) == 1"
    without(monkeypatch, "append", known, "false")
    with pytest.raises(AssertionError):
        CONTRACT.test_a_known_id_is_not_appended_again(make_store(), make_store())


def test_the_contract_notices_a_touch_that_does_not_look(
    make_store: MakeStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session whose life had ended would live again."""
    without(monkeypatch, "touch", "if not lives(packed, tonumber(ARGV[2]))", "if not packed")
    with pytest.raises(AssertionError):
        CONTRACT.test_touch_never_creates(make_store(), clock)


def test_the_contract_notices_a_vouch_without_an_entry(
    make_store: MakeStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists the nodes would not see one that accepts tokens."""
    without(monkeypatch, "vouch", "== 0 then return {'absent'}", "== 9 then return {'absent'}")
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        CONTRACT.test_who_is_not_announced_cannot_vouch(make_store(), make_store())
