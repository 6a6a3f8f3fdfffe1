"""No fail-open: whatever breaks, nobody is authenticated by it, and it is no 500 if it can be."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from flask_clustertoken import ClusterToken, Token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import StoreDamaged, StoreUnavailable
from flask_clustertoken.extension import state_of
from tests.extension.parts import api_text, bearer, cookie, login_text, texts_set, watch

ERRORS = [
    StoreUnavailable("down"),
    StoreDamaged("damaged"),
    OSError("disk"),
    TimeoutError("slow"),
    ValueError("what is this"),
    KeyError("x"),
    RuntimeError("a bug"),
    RecursionError("deep"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_store_that_fails_somehow_authenticates_nobody(
    site: tuple[Flask, ClusterToken], error: Exception
) -> None:
    """Any exception of a store: 503 for protected views, nobody elsewhere, the cookie is kept."""
    app, _ = site
    store = watch(app)
    credentials = [cookie(login_text(app)), bearer(api_text(app))]
    state_of(app).authority.remembered.clear()
    store.cut_off(error)
    client = app.test_client()

    for headers in credentials:
        assert client.get("/me", headers=headers).status_code == 503
        answer = client.get("/maybe", headers=headers)
        assert (answer.status_code, answer.text) == (200, "nobody")
        assert not texts_set(answer)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("authority", "authenticate"),
        ("authentication", "judge_once"),
        ("authentication", "_first_sight"),
        ("authentication", "_ask"),
        ("wire", "read"),
        ("wire", "looks_like_api"),
        ("keys", "verifying"),
        ("view", "covers"),
        ("verified cache", "get"),
        ("verified cache", "put"),
    ],
)
def test_a_bug_in_any_step_authenticates_nobody(
    site: tuple[Flask, ClusterToken],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: str,
    name: str,
) -> None:
    """Each step of the validation is made to raise in turn: never in, never a 500, never told."""
    app, _ = site
    authority: Any = state_of(app).authority
    texts = [login_text(app), api_text(app)]
    authority.remembered.clear()
    owners = {
        "authority": authority,
        "authentication": authority.authentication,
        "wire": authority.wire,
        "keys": authority.keys,
        "view": authority.follower().view,
        "verified cache": authority.remembered,
    }

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"a bug, told with {args}")

    if owner == "authority":  # (It offers what its parts do.)
        monkeypatch.setattr(authority, name, broken)
    else:
        monkeypatch.setattr(type(owners[owner]), name, broken)
    client = app.test_client()
    with caplog.at_level(logging.DEBUG):
        statuses = {
            client.get("/me", headers=cookie(texts[0])).status_code,
            client.get("/me", headers=bearer(texts[1])).status_code,
        }

    # (Only a bearer text is asked whether it looks like an API token.)
    assert statuses == ({200, 503} if name == "looks_like_api" else {503})
    assert not any(text in caplog.text for text in texts)


def test_a_bearer_verifier_that_raises_authenticates_nobody(
    site: tuple[Flask, ClusterToken],
) -> None:
    """An identity provider's code may fail like any other."""
    app, _ = site

    def broken(text: str, environ: dict[str, Any]) -> None:
        raise RuntimeError("the provider's answer made no sense")

    state_of(app).middleware.bearer_verifiers.append(broken)
    client = app.test_client()

    assert client.get("/me", headers=bearer("from.the.provider")).status_code == 503
    assert client.get("/maybe", headers=bearer("from.the.provider")).text == "nobody"
    assert client.get("/me", headers=bearer(api_text(app))).status_code == 200, "ours is ours"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Bearer " + "x" * 65_536},
        {"Authorization": "bearer ctk_"},
        {"Authorization": "BEARER ctk_1.2.3.4.5"},
        {"Authorization": "\x00"},
        {"Cookie": "\xff\xfe=\x80"},
        {"Cookie": "__Host-clustertoken"},
        {"Cookie": "=; ;; __Host-clustertoken=;;"},
        {"Cookie": "; ".join(f"__Host-clustertoken={n}" for n in range(1000))},
        {"Cookie": "__Host-clustertoken=" + "x" * 65_536},
        {"Cookie": "__Host-clustertoken=1.aaaaaaaaaaaa." + "A" * 60 + "." + "A" * 43},
        {"Cookie": "__Host-clustertoken=\u00e9\u00fc"},
    ],
)
def test_garbage_is_nobody(site: tuple[Flask, ClusterToken], headers: dict[str, str]) -> None:
    """Hostile headers are answered, never with a 500, and make no call to the store.

    (Save one look at who knows a key that this node does not, whatever comes after it.)
    """
    app, _ = site
    store = watch(app)
    login_text(app)
    store.calls.clear()

    answer = app.test_client().get("/maybe", headers=headers)

    assert (answer.status_code, answer.text) == (200, "nobody")
    looks = store.calls["nodes"]
    assert looks == (".aaaaaaaaaaaa." in headers.get("Cookie", ""))
    assert store.calls["get"] + store.calls["get_many"] + store.calls["append"] == looks

    store.calls.clear()
    app.test_client().get("/maybe", headers=headers)
    assert not store.calls["nodes"] + store.calls["get"] + store.calls["get_many"]


def test_a_user_loader_that_raises_is_the_apps_own_error(
    site: tuple[Flask, ClusterToken],
) -> None:
    """It is not hidden, and it logs nobody in: the view does not go on."""
    app, tokens = site

    @tokens.user_loader
    def load(token: Token) -> str:
        raise LookupError("the users' database is down")

    @app.get("/user")
    def user() -> str:
        from flask_clustertoken import current_token

        return f"in as {current_token.user}"

    answer = app.test_client().get("/user", headers=cookie(login_text(app)))

    assert answer.status_code == 500
    assert "in as" not in answer.text


def test_a_mended_store_is_found_again(
    site: tuple[Flask, ClusterToken], clock: ManualClock
) -> None:
    """The cookie was kept, so that after the trouble everybody is still logged in."""
    app, _ = site
    store = watch(app)
    headers = cookie(login_text(app))
    client = app.test_client()
    store.cut_off()
    clock.advance(60)
    assert client.get("/me", headers=headers).status_code == 503
    store.mend()
    clock.advance(1)
    assert client.get("/me", headers=headers).status_code == 200
