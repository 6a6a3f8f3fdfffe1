"""Revoked, and still served: a cache before the app held on to what a token had opened."""

from __future__ import annotations

import pytest
from flask import Flask, make_response, send_file

from flask_clustertoken import (
    ClusterToken,
    current_token,
    fresh_login_required,
    require_token,
    token_policy,
    token_required,
)
from flask_clustertoken.clock import ManualClock
from tests.extension.parts import DAY, MakeApp, cookie, login_text, texts_set

#: What caches go by, as an app says it, and what is left of it for one reader.
SAID = {
    "public, max-age=3600": "private, max-age=3600",
    "max-age=60": "private, max-age=60",
    "PUBLIC, S-MaxAge=600, Proxy-Revalidate, no-cache": "private, no-cache",
    "s-maxage=600, stale-while-revalidate=30": "private, stale-while-revalidate=30",
    'private="set-cookie, x-name", max-age=60': "private, max-age=60",
    'no-cache="set-cookie, x-name", public': 'private, no-cache="set-cookie, x-name"',
    "no-store, s-maxage=600": "no-store",
    "": "private",
}
TO_SHARED_CACHES = {
    "CDN-Cache-Control": "max-age=600",
    "Cloudflare-CDN-Cache-Control": "max-age=600",
    "Surrogate-Control": "max-age=600",
    "Edge-Control": "max-age=600",
    "X-Accel-Expires": "600",
}


@pytest.fixture
def site(make_app: MakeApp) -> tuple[Flask, ClusterToken]:
    return make_app(LIFETIME=7 * DAY)


def test_a_file_behind_a_token_is_private_whatever_flask_says_of_files(
    site: tuple[Flask, ClusterToken],
) -> None:
    """``SEND_FILE_MAX_AGE_DEFAULT`` says ``public`` of each file, also of a protected one."""
    app, _ = site
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600

    @app.get("/report")
    @token_required
    def report() -> object:
        return send_file(__file__)

    answer = app.test_client().get("/report", headers=cookie(login_text(app)))
    answer.close()

    assert answer.status_code == 200
    assert answer.headers.getlist("Cache-Control") == ["private, max-age=3600"]
    assert answer.headers["Vary"] == "Cookie, Authorization"


@pytest.mark.parametrize("said", SAID)
def test_private_wins_where_a_token_was_demanded(
    site: tuple[Flask, ClusterToken], said: str
) -> None:
    """What is said to the reader's own browser stays, what is said to all caches goes."""
    app, _ = site

    @app.get("/said")
    @token_required
    def view() -> object:
        answer = make_response("mine")
        answer.headers["Cache-Control"] = said
        return answer

    answer = app.test_client().get("/said", headers=cookie(login_text(app)))

    assert answer.headers.getlist("Cache-Control") == [SAID[said]]


@pytest.mark.parametrize("field", TO_SHARED_CACHES)
def test_fields_that_shared_caches_prefer_go_too(
    site: tuple[Flask, ClusterToken], clock: ManualClock, field: str
) -> None:
    """They count more than ``Cache-Control`` there: not with a token, nor with its cookie."""
    app, _ = site

    @app.get("/demanded")
    @token_required
    def demanded() -> object:
        return "mine", {field: TO_SHARED_CACHES[field]}

    @app.get("/looked")
    def looked() -> object:
        return f"for {current_token.subject}", {field: TO_SHARED_CACHES[field]}

    client, headers = app.test_client(), cookie(login_text(app))

    assert field not in client.get("/demanded", headers=headers).headers
    assert field in client.get("/looked", headers=headers).headers
    clock.advance(2 * DAY)
    renewed = client.get("/looked", headers=headers)
    assert texts_set(renewed)
    assert field not in renewed.headers
    assert renewed.headers["Cache-Control"] == "no-store"


def test_a_view_that_means_it_says_so_by_name(site: tuple[Flask, ClusterToken]) -> None:
    """``shared_cache=True``, at the demand or, below a hook, at the view; never for a refusal."""
    app, _ = site
    public = {"Cache-Control": "public, max-age=60"}

    @app.get("/meant")
    @token_required(shared_cache=True)
    def meant() -> object:
        return "everybody's", public

    @app.get("/called")
    def called() -> object:
        require_token(shared_cache=True)
        return "everybody's", public

    @app.get("/policy")
    @token_policy(shared_cache=True)
    @token_required
    def policy() -> object:
        return "everybody's", public

    @app.get("/fresh")
    @fresh_login_required(max_age=60)
    def fresh() -> object:
        return "mine", public

    @app.errorhandler(401)
    def please(error: object) -> object:
        return "log in", 401, public

    client, headers = app.test_client(), cookie(login_text(app))

    for path in ("/meant", "/called", "/policy"):
        assert client.get(path, headers=headers).headers["Cache-Control"] == "public, max-age=60"
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["Cache-Control"] == "private, max-age=60"
    assert client.get("/fresh", headers=headers).headers["Cache-Control"] == "private, max-age=60"
