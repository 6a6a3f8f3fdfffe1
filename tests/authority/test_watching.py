"""What lasts: streams and sockets end with the token that they were opened with."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority, Watch, Watching
from flask_clustertoken.clock import SKEW
from flask_clustertoken.errors import NoThread
from flask_clustertoken.tokens import Refusal, Token
from tests.doubles import DAY, Cluster, store_of
from tests.no_thread import no_thread
from tests.waiting import wait_until


def by_hand(node: TokenAuthority) -> Watching:
    """What is open on *node*; the test does its steps."""
    node.watching.step_by_hand()
    return node.watching


def token_of(node: TokenAuthority, subject: str = "alice", **given: Any) -> Token:
    return node.issue_login(subject, **given).token


def reason(watch: Watch) -> str:
    """Why *watch* ended; ``""`` while it goes on."""
    return "" if watch.ended is None else watch.ended.reason


# -- revoked ---------------------------------------------------------------------------


REVOKE: dict[str, Callable[[TokenAuthority, Token], object]] = {
    "id": lambda node, token: node.revoke_ids([token.id]),
    "label": lambda node, token: node.revoke_labels(list(token.labels)),
    "subject": lambda node, token: node.revoke_subject(token.subject),
    "end": lambda node, token: node.end(token),
}


@pytest.mark.parametrize("how", REVOKE)
def test_a_revocation_elsewhere_ends_what_it_covers(cluster: Cluster, how: str) -> None:
    """As soon as this node has learnt it; what other tokens opened goes on."""
    node, other = cluster.node(), cluster.node()
    token, bobs = token_of(node, labels=["sid"]), token_of(node, "bob")
    watching, told = by_hand(node), list[Refusal]()
    with watching.watch(token, told.append) as watch, watching.watch(bobs, told.append) as bob:
        REVOKE[how](other, token)
        watching.step()
        assert reason(watch) == "", "it is not known here yet"
        cluster.step(node)
        watching.step()
        assert (reason(watch), reason(bob)) == ("revoked", "")
        assert told == [watch.ended]
        watching.step()
        assert len(told) == 1, "it is said once"
        assert len(watching) == 1
    assert len(watching) == 0


def test_a_lock_ends_whatever_it_is_for_and_says_why(cluster: Cluster) -> None:
    """Programs' connections as well; not those of whom it spares, and no unlock opens one."""
    node, other = cluster.node(), cluster.node()
    watching, told = by_hand(node), list[Refusal]()
    tokens = [
        token_of(node),
        node.issue_api_token("robot", "backup").token,
        token_of(node, "root", labels=["role:admin"]),
    ]
    watches = [watching.watch(token, told.append).open() for token in tokens]
    other.locking.lock(everyone=True, except_labels=["role:admin"], message="Back at eight.")
    watching.step()
    assert [reason(one) for one in watches] == ["", "", ""], "it is not known here yet"
    cluster.step(node)
    watching.step()
    assert [reason(one) for one in watches] == ["locked", "locked", ""]
    assert {one.message for one in told} == {"Back at eight."}
    other.locking.unlock(everyone=True)
    cluster.step(node)
    watching.step()
    assert [reason(one) for one in watches] == ["locked", "locked", ""]
    assert len(told) == 2
    assert len(watching) == 1


def test_on_one_host_a_lock_ends_it_without_a_round_of_the_follower(
    host: Cluster,
) -> None:
    """Embedded: as soon as the lock has returned, without a round of the follower."""
    node, other = host.node(), host.node()
    watching = by_hand(node)
    with watching.watch(node.issue_api_token("alice", "backup").token) as watch:
        other.locking.lock(subject="alice")
        watching.step()
        assert reason(watch) == "locked"


def test_everyones_logins_end_and_programs_go_on(cluster: Cluster) -> None:
    """A revocation of all logins ends no stream of an API token."""
    node = cluster.node()
    watching = by_hand(node)
    logins = [watching.watch(token_of(node, name)).open() for name in ("alice", "bob")]
    robot = watching.watch(node.issue_api_token("alice", "robot").token).open()
    node.revoke_all()
    watching.step()
    assert [reason(one) for one in logins] == ["revoked", "revoked"]
    assert reason(robot) == ""


def test_on_one_host_it_ends_without_a_round_of_the_follower(host: Cluster) -> None:
    """The store's number is looked at, as for a request."""
    node, other = host.node(), host.node()
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        watching.step()
        other.revoke_subject("alice")
        watching.step()
        assert reason(watch) == "revoked"


def test_a_revocation_between_the_look_and_the_opening_wins(cluster: Cluster) -> None:
    """It was learnt before the connection was in the list: looked at once more, it is found."""
    node = cluster.node()
    watching, told = by_hand(node), list[Refusal]()
    token = token_of(node)
    node.revoke_ids([token.id])
    with watching.watch(token, told.append) as watch:
        assert reason(watch) == "revoked"
        assert told == [watch.ended]
    assert len(watching) == 0


def test_tokens_of_a_store_that_was_replaced_end(cluster: Cluster) -> None:
    """Another store has taken the place: no token of the old one is good there."""
    node = cluster.node()
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        node.follower().meet("another epoch")
        watching.step()
        assert reason(watch) == "revoked"


# -- expired ---------------------------------------------------------------------------


def test_the_expiry_ends_it(cluster: Cluster) -> None:
    """As long after it as a request would still be accepted."""
    node = cluster.node(LIFETIME=1000, RENEW_AFTER=100)
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        endless = watching.watch(node.issue_api_token("alice", "robot").token).open()
        cluster.clock.advance(1000 + SKEW - 1)
        cluster.step(node)
        watching.step()
        assert reason(watch) == ""
        cluster.clock.advance(1)
        watching.step()
        assert reason(watch) == "expired"
        assert reason(endless) == "", "it has no expiry"


def test_it_goes_on_where_the_login_was_renewed_on_another_node(cluster: Cluster) -> None:
    """The same browser asked elsewhere, and its cookie has the later expiry."""
    node, other = (cluster.node(LIFETIME=1000, RENEW_AFTER=100) for _ in range(2))
    watching = by_hand(node)
    issued = node.issue_login("alice")
    with watching.watch(issued.token) as watch:
        cluster.clock.advance(600)
        cluster.step()
        renewed = other.authenticate(issued.text)
        assert isinstance(renewed, Token)
        later = other.renew(issued.text, renewed)
        assert later is not None
        cluster.clock.advance(400 + SKEW)
        cluster.step()
        before = store_of(node).calls["get_many"]
        watching.step()
        watching.step()
        assert reason(watch) == ""
        assert watch.token.expires_at == later.token.expires_at
        assert store_of(node).calls["get_many"] == before + 1, "asked once"
        cluster.clock.advance(600)
        cluster.step()
        watching.step()
        assert reason(watch) == "expired"


@pytest.mark.parametrize("here", [True, False], ids=["here", "elsewhere"])
def test_without_records_only_renewals_of_this_process_are_known(
    cluster: Cluster, here: bool
) -> None:
    """``TOKEN_STORE="cookie"``: nobody writes a renewal down. The client comes again with it."""
    options: dict[str, Any] = {"LIFETIME": 1000, "RENEW_AFTER": 100, "TOKEN_STORE": "cookie"}
    node, other = cluster.node(**options), cluster.node(**options)
    watching = by_hand(node)
    issued = node.issue_login("alice")
    with watching.watch(issued.token) as watch:
        cluster.clock.advance(600)
        cluster.step()
        assert (node if here else other).renew(issued.text, issued.token)
        cluster.clock.advance(400 + SKEW)
        cluster.step()
        watching.step()
        assert reason(watch) == ("" if here else "expired")


def test_no_renewal_leads_beyond_the_absolute_end(cluster: Cluster) -> None:
    """``ABSOLUTE_LIFETIME`` counts from the login, for streams, too."""
    node = cluster.node(LIFETIME=1000, RENEW_AFTER=100, ABSOLUTE_LIFETIME=1500)
    watching = by_hand(node)
    issued = node.issue_login("alice")
    with watching.watch(issued.token) as watch:
        for _ in range(2):
            cluster.clock.advance(700)
            cluster.step()
            found = node.authenticate(issued.text)
            assert isinstance(found, Token)
            issued = node.renew(issued.text, found) or issued
            watching.step()
            assert reason(watch) == ""
        cluster.clock.advance(100 + SKEW)
        cluster.step()
        watching.step()
        assert reason(watch) == "expired"


def test_where_the_renewals_cannot_be_known_it_is_stale_and_not_expired(cluster: Cluster) -> None:
    """Trouble is not absence: whoever connects anew is told what is true then."""
    node = cluster.node(LIFETIME=1000, RENEW_AFTER=100)
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        cluster.clock.advance(1000 + SKEW)
        cluster.step()
        store_of(node).cut()
        watching.step()
        assert reason(watch) == "stale"


# -- stale -----------------------------------------------------------------------------


def test_a_view_that_nobody_vouches_for_ends_everything(cluster: Cluster) -> None:
    """Cut from the store: beyond the bound nobody knows what was revoked."""
    node = cluster.node(MAX_STALENESS=10)
    watching = by_hand(node)
    with watching.watch(token_of(node)) as one, watching.watch(token_of(node, "bob")) as two:
        store_of(node).cut()
        cluster.clock.advance(9.9)
        cluster.step(node)
        watching.step()
        assert (reason(one), reason(two)) == ("", "")
        cluster.clock.advance(0.2)
        watching.step()
        assert (reason(one), reason(two)) == ("stale", "stale")


def test_who_accepts_when_stale_lets_them_go_on(cluster: Cluster) -> None:
    """``WHEN_STALE="accept"`` holds for streams as for requests."""
    node = cluster.node(MAX_STALENESS=10, WHEN_STALE="accept")
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        store_of(node).cut()
        cluster.clock.advance(60)
        cluster.step(node)
        watching.step()
        assert reason(watch) == ""


def test_a_clock_that_jumps_ends_them_as_stale(cluster: Cluster) -> None:
    """By a wrong clock nobody knows what has expired."""
    node = cluster.node()
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        cluster.clock.set_wall(365 * DAY)
        watching.step()
        assert reason(watch) == "stale"


def test_an_authority_that_is_closed_ends_everything(cluster: Cluster) -> None:
    """A process that leaves the cluster is told of no revocation any more."""
    node = cluster.node()
    watching = by_hand(node)
    with watching.watch(token_of(node)) as watch:
        node.close()
        watching.step()
        assert reason(watch) == "stale"


# -- what it costs ---------------------------------------------------------------------


def test_nothing_is_asked_for_a_connection_or_a_piece(cluster: Cluster) -> None:
    """A hundred streams of a thousand pieces cost the store no call."""
    node = cluster.node()
    watching = by_hand(node)
    token = token_of(node)
    node.follower().step()
    calls = store_of(node).calls.copy()
    streams = [watching.while_valid(token, range(1000)) for _ in range(100)]
    for stream in streams:
        assert sum(1 for _ in stream) == 1000
        watching.step()
    assert store_of(node).calls == calls


@pytest.mark.long
def test_ten_thousand_that_came_and_went_leave_nothing_behind(cluster: Cluster) -> None:
    """Memory is flat, whether or not what was streamed was ever asked for."""
    node = cluster.node()
    watching = by_hand(node)
    token = token_of(node)

    def round(count: int) -> None:
        for _ in range(count):
            with watching.watch(token, print):
                pass
            watching.while_valid(token, [b"never asked for"])
            list(watching.while_valid(token, [b"a", b"b"]))
        watching.step()

    round(100)
    gc.collect()
    before = sys.getallocatedblocks()
    round(10_000)
    gc.collect()
    grown = sys.getallocatedblocks() - before
    assert len(watching) == 0
    # (Other tests' libraries cache hundreds meanwhile; one of each would be ten thousand.)
    assert grown < 3000, "blocks of memory"


def test_one_thread_looks_after_all(cluster: Cluster) -> None:
    """However many are open; and it tells each of them."""
    node = cluster.node()
    before = set(threading.enumerate())
    ended = threading.Barrier(2)
    token, bobs = token_of(node), token_of(node, "bob")
    others = [node.watching.watch(bobs).open() for _ in range(50)]
    with node.watching.watch(token, lambda refusal: ended.wait(10)):
        named = [one.name for one in set(threading.enumerate()) - before]
        assert named.count("clustertoken-watching") == 1
        node.revoke_subject("alice")
        ended.wait(10)
    assert not any(reason(one) for one in others)
    for one in others:
        one.close()


def test_a_slow_client_holds_up_nobody(cluster: Cluster) -> None:
    """Whoever is called at the end may be stuck for as long as its client is dead."""
    node = cluster.node()
    token = token_of(node)
    dead, told = threading.Event(), list[str]()

    def hangs(refusal: Refusal) -> None:
        assert dead.wait(60)
        told.append("slow")

    watches = [node.watching.watch(token, hangs).open() for _ in range(40)]
    watches += [
        node.watching.watch(token, lambda _: told.append("quick")).open() for _ in range(40)
    ]
    try:
        node.revoke_subject("alice")
        wait_until(lambda: told.count("quick") == 40)
        assert "slow" not in told
    finally:
        dead.set()
    wait_until(lambda: len(told) == 80)


def test_waiting_ends_with_the_token(cluster: Cluster) -> None:
    """``watch.wait`` instead of a sleep: the next piece is not waited for in vain."""
    node = cluster.node()
    with node.watching.watch(token_of(node)) as watch:
        assert not watch.wait(0.01)
        node.revoke_subject("alice")
        assert watch.wait(30)


# -- what can go wrong -----------------------------------------------------------------


def test_whoever_raises_at_the_end_harms_nobody(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the others are told all the same."""
    node = cluster.node()
    watching, told = by_hand(node), list[Refusal]()
    token = token_of(node)

    def broken(refusal: Refusal) -> None:
        raise OSError("the line is dead")

    with watching.watch(token, broken), watching.watch(token, told.append):
        node.revoke_subject("alice")
        watching.step()
    assert len(told) == 1
    assert "the line is dead" in caplog.text


def test_a_connection_that_nobody_could_look_after_is_not_opened(cluster: Cluster) -> None:
    """The system gives no thread at the moment. The next one that is opened is looked after."""
    node = cluster.node()
    token, told = token_of(node), list[Refusal]()
    with no_thread("clustertoken-watching"):
        with pytest.raises(NoThread, match=r"pids\.max"):
            node.watching.watch(token, told.append).open()
        with pytest.raises(NoThread):
            node.watching.while_valid(token, [b"a"])
    assert len(node.watching) == 0
    with node.watching.watch(token) as watch:
        node.revoke_subject("alice")
        assert watch.wait(30)
    assert told == []


def test_who_saw_the_thread_begin_that_could_not_is_refused_too(cluster: Cluster) -> None:
    """Opened while another one was trying to start it: nobody would look after that either."""
    node = cluster.node()
    token, opened = token_of(node), list[Watch]()

    def meanwhile() -> None:
        opened.append(node.watching.watch(token).open())

    with no_thread("clustertoken-watching", meanwhile), pytest.raises(NoThread):
        node.watching.watch(token).open()
    assert [reason(one) for one in opened] == ["stale"]
    assert opened[0].wait(0)
    assert len(node.watching) == 0


def test_whoever_is_told_is_told_once_there_are_threads_again(cluster: Cluster) -> None:
    """The connection ends at once all the same."""
    node = cluster.node()
    token, told = token_of(node), list[Refusal]()
    with no_thread("clustertoken-caller") as refused:
        watch = node.watching.watch(token, told.append).open()
        node.revoke_subject("alice")
        assert watch.wait(30)
        wait_until(lambda: refused)
        assert not told
    wait_until(lambda: told == [watch.ended])


def test_a_connection_that_was_closed_is_not_told(cluster: Cluster) -> None:
    """Its client is gone, and somebody else may have its place."""
    node = cluster.node()
    watching, told = by_hand(node), list[Refusal]()
    with watching.watch(token_of(node), told.append) as watch:
        pass
    watch.close()
    node.revoke_subject("alice")
    watching.step()
    assert told == []
    assert len(watching) == 0


def test_a_watch_is_for_one_connection(cluster: Cluster) -> None:
    """Opened again it would end twice; and before it is opened there is nothing to wait for."""
    node = cluster.node()
    watch = by_hand(node).watch(token_of(node))
    with pytest.raises(RuntimeError, match="open it first"):
        watch.wait(0)
    with watch, pytest.raises(RuntimeError, match="opened before"):
        watch.open()


def test_a_forks_child_has_no_connections(cluster: Cluster) -> None:
    """They are its parent's, which goes on looking after them."""
    node = cluster.node()
    watching, told = by_hand(node), list[Refusal]()
    watch = watching.watch(token_of(node), told.append).open()
    watching.forget()
    assert len(watching) == 0
    node.revoke_subject("alice")
    watching.step()
    assert told == []
    watch.close()


# -- pieces ----------------------------------------------------------------------------


class Pieces:
    """An endless stream, which notes that it was closed."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.given += 1
        return str(self.given)

    def close(self) -> None:
        self.closed += 1


def test_nothing_is_passed_on_after_the_end(cluster: Cluster) -> None:
    """Then the last piece says why, and the source is closed."""
    node = cluster.node()
    watching, pieces = by_hand(node), Pieces()
    stream = watching.while_valid(token_of(node), pieces, lambda refusal: refusal.reason)
    assert [next(stream), next(stream)] == ["1", "2"]
    node.revoke_subject("alice")
    watching.step()
    assert list(stream) == ["revoked"]
    assert (pieces.given, pieces.closed) == (2, 1)
    assert len(watching) == 0


def test_a_piece_that_came_too_late_is_dropped(cluster: Cluster) -> None:
    """The source was waiting for it while the token was ended."""
    node = cluster.node()
    watching = by_hand(node)
    token = token_of(node)

    def pieces() -> Iterator[str]:
        yield "before"
        node.revoke_subject("alice")
        watching.step()
        yield "secret"

    assert list(watching.while_valid(token, pieces())) == ["before"]


def test_a_source_that_stops_with_the_token_is_followed_by_the_last_piece(
    cluster: Cluster,
) -> None:
    """It may watch the token itself, so as not to wait for anything longer than that."""
    node = cluster.node()
    watching = by_hand(node)
    token = token_of(node)

    def pieces() -> Iterator[str]:
        with watching.watch(token) as watch:
            yield "before"
            node.revoke_subject("alice")
            watching.step()
            assert watch.wait(0)

    stream = watching.while_valid(token, pieces(), lambda refusal: refusal.reason)
    assert list(stream) == ["before", "revoked"]


def test_a_source_that_finds_the_end_first_is_followed_by_the_last_piece_too(
    cluster: Cluster,
) -> None:
    """Nobody has looked at the stream itself yet, when its source is told at its opening."""
    node = cluster.node()
    watching = by_hand(node)
    token = token_of(node)

    def pieces() -> Iterator[str]:
        with watching.watch(token) as watch:
            if not watch.wait(0):
                yield "secret"

    stream = watching.while_valid(token, pieces(), lambda refusal: refusal.reason)
    node.revoke_subject("alice")
    assert list(stream) == ["revoked"]


@pytest.mark.parametrize("why", ["revoked", "expired", "stale"])
def test_whoever_is_told_finds_all_connections_of_the_token_over(
    cluster: Cluster, why: str
) -> None:
    """A stream and what its source watches end in one: neither is asked before the other."""
    node = cluster.node(LIFETIME=1000, RENEW_AFTER=100)
    watching = by_hand(node)
    token, told = token_of(node), list[list[str]]()
    watches: list[Watch] = []
    for _ in range(2):
        watches.append(watching.watch(token, lambda _: told.append([*map(reason, watches)])))
        watches[-1].open()
    if why == "revoked":
        node.revoke_subject("alice")
    else:
        cluster.clock.advance(1000 + SKEW)
        if why == "expired":
            cluster.step()
    watching.step()
    assert told == [[why, why]] * 2


@pytest.mark.parametrize("how", ["the end", "an error", "the client"])
def test_a_stream_that_is_over_is_forgotten(cluster: Cluster, how: str) -> None:
    """However it ends: by itself, by an error of its source, or because the client is gone."""
    node = cluster.node()
    watching = by_hand(node)

    def pieces() -> Iterator[str]:
        yield "a"
        if how == "an error":
            raise LookupError("the source")

    stream = watching.while_valid(token_of(node), pieces())
    assert len(watching) == 1, "from the view on, before anybody has asked for a piece"
    assert next(stream) == "a"
    if how == "the client":
        stream.close()
    elif how == "an error":
        with pytest.raises(LookupError, match="the source"):
            next(stream)
    assert list(stream) == []
    assert len(watching) == 0
