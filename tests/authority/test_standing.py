"""What is made on the strength of a token: no revocation of that token is outrun by it.

Each test puts what another node does just where the step of ours could miss it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from flask_clustertoken.authority import IssuedToken, TokenAuthority, standing, writing
from flask_clustertoken.errors import RevokedMeanwhile, StoreUnavailable
from flask_clustertoken.stores.base import Change, HeadIs
from flask_clustertoken.tokens import Token
from tests.doubles import Cluster, reason, store_of

Make = Callable[[TokenAuthority, Token], IssuedToken]
End = Callable[[TokenAuthority, Token], object]


def carry_on(node: TokenAuthority, asked: Token) -> IssuedToken:
    """As the request token does for "log out my other browsers"."""
    mark = node.revoke_subject(asked.subject, on=asked).seq
    return node.issue_login(
        asked.subject, since=mark, carries_on=asked, on=replace(asked, since=mark)
    )


def log_in_again(node: TokenAuthority, asked: Token) -> IssuedToken:
    return node.issue_login(asked.subject, since=node.begin(), replaces=asked, on=asked)


def make_an_api_token(node: TokenAuthority, asked: Token) -> IssuedToken:
    return node.issue_api_token(asked.subject, "ci", on=asked)


#: Everything that is made out of a token.
MAKE = [carry_on, log_in_again, make_an_api_token]


def be_logged_out(node: TokenAuthority, token: Token) -> bool:
    """By "log out my other browsers" elsewhere, unless that one comes too late itself."""
    with suppress(RevokedMeanwhile):
        carry_on(node, token)
        return True
    return False


#: Everything that ends one.
END: list[End] = [
    lambda node, token: node.revoke_ids([token.id]),
    lambda node, token: node.end(token),
    lambda node, token: node.revoke_labels(token.labels),
    lambda node, token: node.revoke_subject(token.subject, ("login", "api")),
    lambda node, token: node.revoke_all(),
    lambda node, token: node.not_before(token.issued_at + 1, ahead=True),
    be_logged_out,
]
KINDS = ["id", "log-out", "label", "subject", "everything", "not before", "log-out of the others"]

pytestmark = pytest.mark.parametrize("token_store", ["session", "cookie"])


def records(cluster: Cluster) -> set[str]:
    return {key for key in cluster.shelf.records if key.startswith("token/")}


def two(cluster: Cluster, token_store: str) -> tuple[TokenAuthority, TokenAuthority, IssuedToken]:
    """A node that is asked, another one, and a login that both have seen."""
    node, other = (cluster.node(TOKEN_STORE=token_store) for _ in range(2))
    cluster.step()
    issued = other.issue_login("alice", labels=["idp:1"])
    cluster.step()
    assert node.authenticate(issued.text)
    assert other.authenticate(issued.text)
    return node, other, issued


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("end", END, ids=KINDS)
def test_nothing_is_made_of_a_token_that_ended_while_its_request_was_parked(
    cluster: Cluster, token_store: str, make: Make, end: End
) -> None:
    """Acknowledged elsewhere after the look at the token, unknown here: nothing is handed out."""
    node, other, issued = two(cluster, token_store)
    end(other, issued.token)
    before = records(cluster)
    with pytest.raises(RevokedMeanwhile):
        make(node, issued.token)
    assert records(cluster) <= before


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("end", END, ids=KINDS)
@pytest.mark.parametrize("moment", ["before append", "after append", "before read", "before head"])
def test_no_revocation_between_two_calls_is_outrun(
    cluster: Cluster, token_store: str, make: Make, end: End, moment: str
) -> None:
    """Before the step that issues it wins. (What comes after that, has come after the issue.)"""
    node, other, issued = two(cluster, token_store)
    store, steps = store_of(node), [0]

    def counted(name: str) -> None:
        call = getattr(store, name)

        def counting(*args: Any, **more: Any) -> Any:
            answer = call(*args, **more)
            steps[0] += 1
            return answer

        setattr(store, name, counting)

    counted("append")
    if make is carry_on and token_store == "cookie":
        # Nothing is written for such a login: its step is the look behind a write.
        counted("head")
    when, call = moment.split()
    done_at: list[int] = []

    def revoke() -> None:
        if end(other, issued.token) is not False:
            done_at.append(steps[0] + (moment == "after append"))

    getattr(store, when)[call] = revoke
    try:
        make(node, issued.token)
    except RevokedMeanwhile:
        assert done_at
    else:
        assert not done_at or done_at[0] >= steps[0], "outrun"


def test_the_login_that_is_carried_on_ignores_its_own_mark_and_no_other(
    cluster: Cluster, token_store: str
) -> None:
    """Between the mark and the new login somebody else logs the same people out."""
    node, other, issued = two(cluster, token_store)
    made = carry_on(node, issued.token)
    cluster.step()
    assert node.authenticate(made.text)
    assert other.authenticate(made.text)
    assert reason(other.authenticate(issued.text)) == "revoked"

    mark = node.revoke_subject("alice", on=made.token).seq
    other.revoke_all()
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice", since=mark, on=replace(made.token, since=mark))


def test_a_revoked_token_throws_nobody_out(cluster: Cluster, token_store: str) -> None:
    """The mark of "log out my others" is set where the asker stands, or is not set."""
    node, other, stolen = two(cluster, token_store)
    mine = carry_on(other, stolen.token)
    with pytest.raises(RevokedMeanwhile):
        carry_on(node, stolen.token)
    cluster.step()
    assert node.authenticate(mine.text)


def test_a_record_that_is_gone_is_as_good_as_a_revocation(
    cluster: Cluster, token_store: str
) -> None:
    """Its entry in the feed may be over by the time that a very slow request goes on."""
    node, _, issued = two(cluster, token_store)
    cluster.shelf.records.pop(issued.token.record_key, None)
    for make in MAKE:
        if token_store == "session":
            with pytest.raises(RevokedMeanwhile):
                make(node, issued.token)
    if token_store == "cookie":
        assert log_in_again(node, issued.token)


@pytest.mark.parametrize("make", MAKE)
def test_what_concerns_others_holds_nothing_up(
    cluster: Cluster, token_store: str, make: Make
) -> None:
    """The head moved, and the asker still stands: it is judged again and goes on."""
    node, other, issued = two(cluster, token_store)
    first = len(cluster.shelf.entries)

    def bob_again() -> None:
        other.revoke_subject("bob")
        if len(cluster.shelf.entries) < first + 5:
            store_of(node).before["append"] = bob_again

    store_of(node).before["append"] = bob_again
    made = make(node, issued.token)
    cluster.step()
    kind = made.token.kind
    assert other.authenticate(made.text, kind)


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("end", END, ids=KINDS)
def test_the_long_way_is_as_safe(
    cluster: Cluster, token_store: str, make: Make, end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written first and looked at then, because others append all the time."""
    monkeypatch.setattr(writing, "TRIES", 0)
    node, other, issued = two(cluster, token_store)
    before = records(cluster)

    def revoke() -> None:
        end(other, issued.token)

    # (Where nothing is written before the look, the look is the step.)
    looked = token_store == "cookie" and make is log_in_again
    store_of(node).before["head" if looked else "append"] = revoke
    with pytest.raises(RevokedMeanwhile):
        make(node, issued.token)
    assert records(cluster) <= before | {one for one in records(cluster) if end is be_logged_out}


def test_others_that_never_stop_are_an_error(
    cluster: Cluster, token_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that depends on who asks is not tried for ever."""
    node, other, issued = two(cluster, token_store)
    append = store_of(node).append

    def beaten(entries: Any, changes: Any = (), **more: Any) -> list[int]:
        other.revoke_subject("bob")
        return append(entries, changes, **more)

    store_of(node).append = beaten  # type: ignore[method-assign]
    monkeypatch.setattr(standing, "TRIES", 4)
    with pytest.raises(StoreUnavailable, match="faster"):
        node.revoke_subject("alice", on=issued.token)
    assert other.authenticate(issued.text)


# -- the number that a login carries ---------------------------------------------------


def test_a_mark_while_the_password_is_checked_wins(cluster: Cluster, token_store: str) -> None:
    """Also where the short way would find the head unmoved since the mark."""
    node, other, _ = two(cluster, token_store)
    since = node.begin()
    other.revoke_subject("alice")
    node.follower().follow()
    with pytest.raises(RevokedMeanwhile):
        node.issue_login("alice", since=since)


def test_a_login_right_after_a_log_out_everywhere_is_good(
    cluster: Cluster, token_store: str
) -> None:
    """The number comes from the store, however far behind the view is."""
    node, other, _ = two(cluster, token_store)
    other.revoke_subject("alice", ("login", "api"))
    made = node.issue_login("alice", since=node.begin())
    api = node.issue_api_token("alice", "ci")
    own = node.revoke_subject("alice", ("login", "api"))
    after = node.issue_api_token("alice", "ci")
    cluster.step()
    assert own.seq
    for one in (node, other):
        assert reason(one.authenticate(made.text)) == "revoked"
        assert reason(one.authenticate(api.text, "api")) == "revoked"
        assert one.authenticate(after.text, "api")


@pytest.mark.parametrize("way", ["short", "long"])
def test_what_could_not_be_caught_up_is_not_handed_out(
    cluster: Cluster, token_store: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store does not show what is new: an issue that cannot be judged leaves nothing."""
    monkeypatch.setattr(writing, "TRIES", 3 if way == "short" else 0)
    node, other, issued = two(cluster, token_store)
    for reading in (node.follower(), node.follower().reader):
        monkeypatch.setattr(reading, "follow", lambda: True)
    before = records(cluster)
    for make in MAKE[1:]:
        other.revoke_subject("bob")
        with pytest.raises(StoreUnavailable):
            make(node, issued.token)
        assert records(cluster) <= before


def test_the_head_is_asked_for_in_the_step_that_writes(cluster: Cluster, token_store: str) -> None:
    """Nothing is looked at behind the record while nobody revokes."""
    node, _, issued = two(cluster, token_store)
    changes: list[list[Change]] = []
    append = store_of(node).append

    def watched(entries: Any, some: Any = (), **more: Any) -> list[int]:
        changes.append(list(some))
        return append(entries, some, **more)

    store_of(node).append = watched  # type: ignore[method-assign]
    since = node.begin()
    store_of(node).calls.clear()
    node.issue_login("alice", since=since, replaces=issued.token, on=issued.token)
    assert [sum(isinstance(one, HeadIs) for one in some) for some in changes] == [1]
    assert not set(store_of(node).calls) & {"add", "put", "touch", "delete", "head", "get_many"}


# -- what is remembered ----------------------------------------------------------------


def test_an_answer_is_not_remembered_across_a_revocation(
    cluster: Cluster, token_store: str
) -> None:
    """The record was read alive, and the revocation learnt before that answer is put away."""
    node, other, _ = two(cluster, token_store)
    issued = other.issue_api_token("alice", "ci")
    cluster.step()

    def end() -> None:
        other.revoke_ids([issued.token.id])
        node.follower().follow()

    store_of(node).after["get_many"] = end
    node.authenticate(issued.text, "api")
    seen = node.remembered.get(issued.text, node.keys.generation)
    assert seen is not None
    assert seen.known_until <= node.clock.monotonic()
