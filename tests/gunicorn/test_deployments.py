"""Two deployments in one realm: one login, and settings and data of their own."""

from __future__ import annotations

import pytest

from .conftest import Serve

pytestmark = pytest.mark.gunicorn


def test_deployments_share_logins_and_nothing_else(serve: Serve) -> None:
    """A login of one is known to the other and ends in both; lifetimes and shared data differ."""
    production = serve(workers=2, settings={"DEPLOYMENT": "production", "LIFETIME": 86_400 * 3})
    qa = serve(
        workers=2, settings={"DEPLOYMENT": "qa", "LIFETIME": 7200, "RENEW_AFTER": 600}, node="there"
    )
    cookie = production.login()
    assert {one.status for one in qa.at_once(cookie, 6)} == {200}
    assert qa.me(cookie).json["node"]["name"] == "there"

    assert production.ask("GET", "/pages/sliding", cookie=cookie).status == 200
    seen = production.ask("GET", "/api/recent", cookie=cookie).json["recent"]
    assert [one["page"] for one in seen] == ["sliding"]
    assert qa.ask("GET", "/api/recent", cookie=cookie).json["recent"] == []

    short = qa.me(qa.login()).json
    assert short["expires_at"] - short["issued_at"] == 7200
    long = production.me(production.login()).json
    assert long["expires_at"] - long["issued_at"] == 86_400 * 3

    assert qa.ask("POST", "/logout", cookie=cookie).status == 200
    assert {one.status for one in production.at_once(cookie, 6)} == {401}
    assert {one.status for one in qa.at_once(cookie, 6)} == {401}


def test_the_longer_lifetime_counts_for_revocations_of_both(serve: Serve) -> None:
    """What a deployment with short logins ends stays ended for long ones of the other."""
    long = serve(workers=2, settings={"DEPLOYMENT": "long", "TOKEN_STORE": "cookie"})
    brief = {"DEPLOYMENT": "brief", "LIFETIME": 3, "RENEW_AFTER": 1, "TOKEN_STORE": "cookie"}
    short = serve(workers=2, settings=brief)
    cookie = long.login()

    assert short.ask("POST", "/logout-everywhere", cookie=cookie).status == 200

    assert {one.status for one in long.at_once(cookie, 6)} == {401}
    short.stop()
    long.stop()
    long.start()
    assert {one.status for one in long.at_once(cookie, 6)} == {401}
