"""History: the feed's revocations, the newest first, in pages."""

from __future__ import annotations

from flask_clustertoken.authority import TokenAuthority
from tests.doubles import Cluster, store_of


def every(node: TokenAuthority, most: int) -> list[int]:
    """The numbers of all pages."""
    found: list[int] = []
    before = 0
    while True:
        page = node.history.newest(before, most)
        found += [one.seq for one in page.revoked]
        before = page.before
        if not before:
            return found


def test_each_revocation_stands_in_one_page_the_newest_first(cluster: Cluster) -> None:
    """Whatever lies between them: seconds, weeks, or a crowd of them in one moment."""
    node = cluster.node()
    made = []
    for pause in (0.0, 1.0, 70.0, 5000.0, 40_000.0, 0.0, 300_000.0):
        for number in range(7):
            made.append(node.revoke_subject(f"s{number}").seq)
        cluster.clock.advance(pause)
    for most in (1, 3, 7, 50):
        assert every(node, most) == made[::-1]


def test_what_comes_meanwhile_shifts_no_page(cluster: Cluster) -> None:
    node = cluster.node()
    made = [node.revoke_subject(f"s{number}").seq for number in range(20)]
    first = node.history.newest(most=5)
    node.revoke_all()
    second = node.history.newest(first.before, most=5)
    assert [one.seq for one in second.revoked] == made[14:9:-1]


def test_it_says_what_was_revoked_and_names_nobody(cluster: Cluster) -> None:
    """Kind, kinds of token, how many; the newest are found by a few calls."""
    node = cluster.node()
    login = node.issue_login("alice").token
    for _ in range(1500):
        node.revoke_subject("x")
    cluster.clock.advance(3600)
    node.revoke_ids([login.id])
    node.revoke_all(("login", "api"))
    calls = store_of(node).calls
    calls.clear()
    everybody, one = node.history.newest(most=2).revoked[:2]
    assert calls["read"] <= 8
    assert (everybody.kind, everybody.kinds, everybody.named) == ("realm", ("login", "api"), 0)
    assert (one.kind, one.named) == ("ids", 1)


def test_an_empty_feed_is_an_empty_page(cluster: Cluster) -> None:
    assert cluster.node().history.newest().revoked == ()
