"""Failures that were reproduced in other libraries, each held down here by its name.

R1 a connect string that loses all servers but the first, R2 a deny entry that is forgotten
before what it denies, R3 a renewal that undoes the logout it rides on, R4 a slow request that
brings a logged-out session back, R5 a page that pays for a login nobody asked for.
"""

from __future__ import annotations

import threading

import pytest

from flask_clustertoken import current_token, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.extension import state_of
from flask_clustertoken.stores.zookeeper.address import parse_address
from tests.extension.parts import (
    COOKIE,
    DAY,
    MakeApp,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)

# -- R1 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "servers", ["zkhost1:2181/pano,zkhost2:2181/pano", "zkhost1:2181,zkhost2:2181/pano"]
)
def test_r1_both_forms_of_a_connect_string_name_every_server(servers: str) -> None:
    """kazoo's parser keeps zkhost1 alone, under the root ``/pano,zkhost2:2181/pano``."""
    place = parse_address(f"zookeeper://{servers}")

    assert place.hosts == (("zkhost1", 2181), ("zkhost2", 2181))
    assert place.root == "/pano"
    assert place.servers == "zkhost1:2181,zkhost2:2181"


def test_r1_kazoo_still_needs_to_be_spared() -> None:
    """Should kazoo learn to read it, this test says so and our parser may go."""
    from kazoo.hosts import collect_hosts

    hosts, root = collect_hosts("zkhost1:2181/pano,zkhost2:2181/pano")

    assert (hosts, root) == ([("zkhost1", 2181)], "/pano,zkhost2:2181/pano")


def test_r1_roots_that_differ_are_refused() -> None:
    """One of two roots would be dropped without a word."""
    with pytest.raises(ConfigurationError, match="different roots"):
        parse_address("zookeeper://zkhost1:2181/pano,zkhost2:2181/other")


# -- R2 --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["id", "subject", "label", "all"])
@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_r2_a_revocation_outlives_what_it_revokes(
    make_app: MakeApp, clock: ManualClock, how: str, token_store: str
) -> None:
    """Day after day, with all sweeping, until the token is over: never accepted again."""
    app, tokens = make_app(TOKEN_STORE=token_store, LIFETIME=7 * DAY)
    authority = state_of(app).authority
    issued = authority.issue_login("alice", labels=["provider:1"])
    client = app.test_client()
    assert client.get("/me", headers=cookie(issued.text)).status_code == 200
    with app.app_context():
        {
            "id": lambda: tokens.revoke(issued.token.id),
            "subject": lambda: tokens.revoke_subject("alice"),
            "label": lambda: tokens.revoke_label("provider:1"),
            "all": tokens.revoke_all,
        }[how]()

    for _ in range(8 * 4):
        clock.advance(DAY / 4)
        authority.follower().step()
        assert client.get("/me", headers=cookie(issued.text)).status_code == 401
    assert issued.token.expires_at is not None
    assert clock.time() > issued.token.expires_at + 60


def test_r2_a_lowered_lifetime_shortens_no_memory(clock: ManualClock, make_app: MakeApp) -> None:
    """Tokens of before the setting was lowered live on: what revokes them must as well."""
    from flask_clustertoken import TokenAuthority
    from flask_clustertoken.settings import Settings
    from flask_clustertoken.stores.memory import MemoryStore, Shelf

    shelf = Shelf()

    def node(lifetime: int) -> TokenAuthority:
        given = {
            "CLUSTERTOKEN_SECRET": "the secret of these tests, long enough",
            "CLUSTERTOKEN_LIFETIME": lifetime,
            "CLUSTERTOKEN_RENEW_AFTER": 60,
            "CLUSTERTOKEN_TOKEN_STORE": "cookie",
        }
        return TokenAuthority(
            Settings.from_mapping(given), clock=clock, store=MemoryStore(shelf, clock=clock)
        )

    long = node(7 * DAY)
    old = long.issue_login("alice").text
    long.close()
    short = node(3600)
    short.revoke_subject("alice")

    for _ in range(7 * 4):
        clock.advance(DAY / 4)
        short.follower().step()
        assert not short.authenticate(old)
    late = node(3600)
    assert not late.authenticate(old)
    for one in (short, late):
        one.close()


def test_r2_a_revoked_api_token_never_comes_back(make_app: MakeApp, clock: ManualClock) -> None:
    """It has no end of its own, so its revocation rests on the record that is gone."""
    app, tokens = make_app()
    text = api_text(app, "robot")
    authority = state_of(app).authority
    with app.app_context():
        (token,) = tokens.tokens_of("robot")
        tokens.revoke(token.id)

    for _ in range(60):
        clock.advance(7 * DAY)
        authority.follower().step()
        assert app.test_client().get("/me", headers=bearer(text)).status_code == 401


# -- R3 --------------------------------------------------------------------------------


@pytest.mark.parametrize("always", [False, True])
def test_r3_a_logout_in_the_renewal_window_is_not_undone(
    make_app: MakeApp, clock: ManualClock, always: bool
) -> None:
    """The answer to a protected logout view has one cookie, and it is the clearing one."""
    app, tokens = make_app(ALWAYS_RENEW=always)

    @app.post("/protected-logout")
    @token_required
    def protected_logout() -> str:
        assert current_token.subject == "alice"
        tokens.logout()
        return "bye"

    client = app.test_client()
    client.post("/login/alice")
    old = client.get_cookie(COOKIE)
    assert old is not None
    clock.advance(2 * DAY)

    answer = client.post("/protected-logout")

    assert texts_set(answer) == [""]
    assert client.get_cookie(COOKIE) is None
    assert client.get("/me", headers=cookie(old.value)).status_code == 401


def test_r3_a_login_and_a_logout_in_one_request_leave_one_cookie(make_app: MakeApp) -> None:
    """Whatever a view does in turn, the last word is the only one that is sent."""
    app, tokens = make_app()

    @app.post("/in-and-out")
    def in_and_out() -> str:
        tokens.login("alice")
        tokens.logout()
        return ""

    @app.post("/out-and-in")
    def out_and_in() -> str:
        tokens.logout()
        return tokens.login("bob").subject

    client = app.test_client()

    assert texts_set(client.post("/in-and-out")) == [""]
    (text,) = texts_set(client.post("/out-and-in", headers=cookie(login_text(app))))
    assert client.get("/maybe", headers=cookie(text)).text == "bob"


# -- R4 --------------------------------------------------------------------------------


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("always", [False, True])
def test_r4_a_request_in_flight_does_not_bring_the_login_back(
    make_app: MakeApp, clock: ManualClock, token_store: str, always: bool
) -> None:
    """It began before the logout and ends after it: no cookie, no record, no way back in."""
    app, _ = make_app(TOKEN_STORE=token_store, ALWAYS_RENEW=always)
    inside, go_on = threading.Event(), threading.Event()

    @app.get("/slow")
    @token_required
    def slow() -> str:
        inside.set()
        assert go_on.wait(30)
        return f"slow {current_token.subject}"

    text = login_text(app)
    clock.advance(2 * DAY)
    answers = []
    request = threading.Thread(
        target=lambda: answers.append(app.test_client().get("/slow", headers=cookie(text)))
    )
    request.start()
    assert inside.wait(30)
    assert app.test_client().post("/logout", headers=cookie(text)).json == {"ended": True}
    go_on.set()
    request.join(30)

    (answer,) = answers
    assert answer.text == "slow alice"
    assert not texts_set(answer)
    assert not list(state_of(app).authority.tokens_of("alice"))
    assert app.test_client().get("/me", headers=cookie(text)).status_code == 401


def test_r4_a_copy_renewed_at_the_same_moment_dies_with_the_login(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """A renewal that was faster than the logout carries the same id: it is covered too."""
    app, _ = make_app()
    text = login_text(app)
    clock.advance(2 * DAY)
    (renewed,) = texts_set(app.test_client().get("/me", headers=cookie(text)))

    app.test_client().post("/logout", headers=cookie(text))

    assert app.test_client().get("/me", headers=cookie(renewed)).status_code == 401


# -- R5 --------------------------------------------------------------------------------


def test_r5_a_view_that_does_not_look_costs_nothing(make_app: MakeApp, clock: ManualClock) -> None:
    """No call to the store, no Set-Cookie, no Vary, also in the renewal window."""
    app, _ = make_app(ALWAYS_RENEW=True)
    store = watch(app)
    text = login_text(app)
    clock.advance(2 * DAY)
    store.calls.clear()

    for _ in range(3):
        answer = app.test_client().get("/public", headers=cookie(text))
        assert answer.text == "hello"
        assert not {"Set-Cookie", "Vary", "Cache-Control"} & set(answer.headers.keys())
    assert not store.calls


def test_r5_a_view_that_reads_writes_nothing(make_app: MakeApp) -> None:
    """A look at a token that was seen is no read and no write of the store."""
    app, _ = make_app()
    store = watch(app)
    text = login_text(app)
    app.test_client().get("/me", headers=cookie(text))
    store.calls.clear()

    for _ in range(3):
        assert app.test_client().get("/me", headers=cookie(text)).status_code == 200
    # (Reading one number in this process is how an embedded store says that nothing moved.)
    assert set(store.calls) <= {"position"}
