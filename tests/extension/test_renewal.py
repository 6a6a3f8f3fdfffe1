"""Renewal, and what the answer tells browsers and caches: only on an answer that looked."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, Response, make_response

from flask_clustertoken import ClusterToken, current_token, token_policy, token_required
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.extension import state_of
from tests.extension.parts import (
    DAY,
    MakeApp,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    app, tokens = make_app()

    @app.get("/poll")
    @token_policy(slide=False)
    def poll() -> str:
        return current_token.subject or "nobody"

    @app.get("/poll-protected")
    @token_required(slide=False)
    def poll_protected() -> str:
        return "news"

    return app, tokens


def test_a_login_slides_once_a_part_of_its_life_has_passed(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Not before RENEW_AFTER; then the expiry moves on, and nothing else changes."""
    app, _ = site
    client, old = app.test_client(), login_text(app)

    clock.advance(DAY)
    assert not texts_set(client.get("/me", headers=cookie(old)))
    clock.advance(60)
    (new,) = texts_set(client.get("/me", headers=cookie(old)))

    authority = state_of(app).authority
    before, after = (authority.authenticate(text) for text in (old, new))
    assert before
    assert after
    assert after.expires_at == int(clock.time()) + 7 * DAY
    assert (before.id, before.issued_at, before.authenticated_at, before.since) == (
        after.id,
        after.issued_at,
        after.authenticated_at,
        after.since,
    )


def test_old_copies_stay_good(site: tuple[Flask, ClusterToken], clock: ManualClock) -> None:
    """Of two tabs that renew at once neither loses, and both copies end together."""
    app, _ = site
    client, old = app.test_client(), login_text(app)
    clock.advance(2 * DAY)
    copies = [texts_set(client.get("/me", headers=cookie(old)))[0] for _ in range(2)]

    for text in [old, *copies]:
        assert client.get("/me", headers=cookie(text)).status_code == 200
    client.post("/logout", headers=cookie(copies[0]))
    for text in [old, *copies]:
        assert client.get("/me", headers=cookie(text)).status_code == 401


def test_a_login_in_use_ends_at_its_absolute_lifetime(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Used each day, a login holds for 30 days, and not a day longer."""
    app, _ = site
    client = app.test_client()
    client.post("/login/alice")

    for _ in range(29):
        clock.advance(DAY + 1)
        assert client.get("/me").status_code == 200
    clock.advance(DAY + 120)
    assert client.get("/me").status_code == 401


def test_a_login_out_of_use_ends(site: tuple[Flask, ClusterToken], clock: ManualClock) -> None:
    """Seven days without use, by the server's clock, whatever the browser still sends."""
    app, _ = site
    text = login_text(app)

    clock.advance(7 * DAY - 1)
    assert app.test_client().get("/poll-protected", headers=cookie(text)).status_code == 200
    clock.advance(62)
    assert app.test_client().get("/poll-protected", headers=cookie(text)).status_code == 401


def test_always_renew(make_app: MakeApp, clock: ManualClock) -> None:
    """With ALWAYS_RENEW each look renews, and few of them write to the store."""
    app, _ = make_app(ALWAYS_RENEW=True)
    store = watch(app)
    text = login_text(app)
    client = app.test_client()

    for _ in range(20):
        clock.advance(1)
        (text,) = texts_set(client.get("/me", headers=cookie(text)))
    assert store.calls["touch"] <= 1


@pytest.mark.parametrize("path", ["/public", "/poll", "/poll-protected"])
def test_what_must_not_keep_a_login_alive_does_not(
    site: tuple[Flask, ClusterToken], clock: ManualClock, path: str
) -> None:
    """Not looking, and ``slide=False``, renew nothing."""
    app, _ = site
    text = login_text(app)
    clock.advance(2 * DAY)

    answer = app.test_client().get(path, headers=cookie(text))

    assert answer.status_code == 200
    assert not texts_set(answer)


def test_an_api_token_is_not_renewed(site: tuple[Flask, ClusterToken], clock: ManualClock) -> None:
    """It lives in no cookie: no answer to a bearer token sets one."""
    app, _ = site
    text = api_text(app)
    clock.advance(2 * DAY)

    answer = app.test_client().get("/me", headers=bearer(text))

    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_a_stale_node_renews_nothing(site: tuple[Flask, ClusterToken], clock: ManualClock) -> None:
    """While the view is not vouched for no cookie is sent, also where stale is accepted."""
    app, _ = site
    store = watch(app)
    text = login_text(app)
    store.cut_off()
    clock.advance(2 * DAY)

    answer = app.test_client().get("/poll", headers=cookie(text))

    assert answer.text == "nobody"
    assert not texts_set(answer)


def test_accepting_when_stale_renews_nothing(
    make_app: MakeApp, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WHEN_STALE="accept" lets a login in, and does not prolong it."""
    app, _ = make_app(WHEN_STALE="accept", RENEW_AFTER=60)
    text = login_text(app)

    def no_contact() -> None:
        raise StoreUnavailable("the line was cut")

    monkeypatch.setattr(state_of(app).authority.follower(), "confirm_contact", no_contact)
    clock.advance(120)

    answer = app.test_client().get("/me", headers=cookie(text))

    assert answer.status_code == 200
    assert not texts_set(answer)


def test_trouble_while_renewing_spoils_no_answer(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """The store breaks between the look and the answer: 200, and the next request renews."""
    app, _ = site
    store = watch(app)
    client = app.test_client()

    @app.get("/cut")
    @token_required
    def cut() -> str:
        store.cut_off()
        return "fine"

    text = login_text(app)
    clock.advance(2 * DAY)
    answer = client.get("/cut", headers=cookie(text))
    assert answer.text == "fine"
    assert not texts_set(answer)
    store.mend()
    assert texts_set(client.get("/me", headers=cookie(text)))


# -- what a refusal does to the cookie -------------------------------------------------


def test_a_cookie_that_is_no_token_is_cleared(site: tuple[Flask, ClusterToken]) -> None:
    """Garbage is the one thing that is thrown away."""
    app, _ = site

    for text in ("", "garbage", "x" * 9000, "\xff\xfe", '"quoted"', "1.2.3.4"):
        answer = app.test_client().get("/maybe", headers=cookie(text))
        assert (answer.status_code, answer.text) == (200, "nobody")
        assert texts_set(answer) == [""], text[:10]


def test_a_cookie_that_was_once_a_token_is_kept(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """A late answer to an old cookie would wipe the new one: only logout clears."""
    app, _ = site
    client = app.test_client()
    revoked, forged = login_text(app), login_text(app)
    client.post("/logout", headers=cookie(revoked))
    version, _, rest = forged.split(".", 2)
    texts = {
        "revoked": revoked,
        "bad signature": forged[:-2] + ("AA" if forged[-2:] != "AA" else "BB"),
        "unknown key": f"{version}.{'0' * 12}.{rest}",
        "newer form": f"9.{forged.split('.', 1)[1]}",
    }

    for name, text in texts.items():
        answer = client.get("/maybe", headers=cookie(text))
        assert answer.text == "nobody", name
        assert not texts_set(answer), name
    clock.advance(8 * DAY)
    expired = client.get("/maybe", headers=cookie(forged))
    assert expired.text == "nobody"
    assert not texts_set(expired)


def test_of_two_cookies_under_our_name_the_good_one_counts(
    site: tuple[Flask, ClusterToken],
) -> None:
    """A planted cookie before or behind ours locks nobody out, and never two are honoured."""
    app, _ = site
    good, other = login_text(app, "alice"), login_text(app, "bob")
    name = "__Host-clustertoken"

    def who(*texts: str) -> str:
        header = "; ".join(f"{name}={text}" for text in texts)
        return app.test_client().get("/maybe", headers={"Cookie": header}).text

    assert who("planted", good) == who(good, "planted") == who(good[:-2] + "AA", good) == "alice"
    assert who(good, other) == "alice"
    assert who("a", "b", "c", "d", good) == "nobody", "an attack is not searched for ever"
    header = {"Cookie": f"{name.lower()}={good}; x{name}={good}"}
    assert app.test_client().get("/maybe", headers=header).text == "nobody"


def test_of_several_refused_cookies_the_undecided_one_tells(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """Where one of them may still be good the answer is 503, and none is cleared."""
    app, _ = site
    store = watch(app)
    good = login_text(app)
    store.cut_off()
    clock.advance(11)
    name = "__Host-clustertoken"

    header = {"Cookie": f"{name}=planted; {name}={good[:-2]}AA; {name}={good}"}
    answer = app.test_client().get("/me", headers=header)

    assert answer.status_code == 503
    assert not texts_set(answer)


# -- caches ----------------------------------------------------------------------------


def test_nobody_looked_so_anybody_may_cache(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """A public page says nothing of cookies, whatever the request carried."""
    app, _ = site
    text = login_text(app)

    answer = app.test_client().get("/public", headers=cookie(text))

    assert not {"Vary", "Cache-Control", "Set-Cookie"} & set(answer.headers.keys())


def test_who_looked_says_so(site: tuple[Flask, ClusterToken]) -> None:
    """A look makes an answer private and depend on the credentials, logged in or not."""
    app, _ = site

    for headers in ({}, cookie(login_text(app)), bearer(api_text(app))):
        answer = app.test_client().get("/maybe", headers=headers)
        assert answer.headers["Vary"] == "Cookie, Authorization"
        assert answer.headers["Cache-Control"] == "private"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["Accept-Encoding"], "Accept-Encoding, Cookie, Authorization"),
        (["cookie"], "cookie, Authorization"),
        (["Accept", "Origin"], "Accept, Origin, Cookie, Authorization"),
        (["*"], "*"),
    ],
)
def test_the_apps_own_vary_is_kept(
    site: tuple[Flask, ClusterToken], given: list[str], told: str
) -> None:
    """Ours is added to what the app says, once."""
    app, _ = site

    @app.get("/varied")
    def varied() -> Response:
        response = make_response(str(bool(current_token)))
        for one in given:
            response.headers.add("Vary", one)
        return response

    answer = app.test_client().get("/varied")

    assert answer.headers.getlist("Vary") == [told]


def test_the_apps_own_cache_control_is_kept_unless_a_cookie_is_set(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """A page may say that it is public; an answer that carries a login never is."""
    app, _ = site

    @app.get("/shared")
    def shared() -> Any:
        response = make_response(str(bool(current_token)))
        response.headers["Cache-Control"] = "public, max-age=60"
        return response

    client, text = app.test_client(), login_text(app)

    assert client.get("/shared").headers.getlist("Cache-Control") == ["public, max-age=60"]
    clock.advance(2 * DAY)
    renewed = client.get("/shared", headers=cookie(text))
    assert texts_set(renewed)
    assert renewed.headers.getlist("Cache-Control") == ["no-store"]
    for path in ("/login/alice", "/logout"):
        answer = client.post(path)
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
