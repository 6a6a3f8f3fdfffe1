"""A bearer token that somebody else judged was refused, and nobody was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_clustertoken.extension import state_of
from flask_clustertoken.extension.signals import token_refused
from flask_clustertoken.keycloak.sessions import labels
from flask_clustertoken.tokens import Refusal
from tests.extension.parts import MakeApp, bearer
from tests.keycloak.app import create_app
from tests.keycloak.conftest import config as config
from tests.keycloak.issuer import Issuer


def told(app: Flask, text: str) -> tuple[int, list[Refusal]]:
    heard: list[Refusal] = []

    def hear(sender: Flask, refusal: Refusal, **extra: Any) -> None:
        heard.append(refusal)

    with token_refused.connected_to(hear, app):
        status = app.test_client().get("/me", headers=bearer(text)).status_code
    return status, heard


def test_each_refusal_of_keycloaks_tokens_is_told_once(
    config: Callable[..., dict[str, Any]],
) -> None:
    """For whatever reason, with its detail; by the adapter or by the view of revocations."""
    with Issuer() as issuer:
        app = create_app(config(issuer.url))
        authority = state_of(app).authority
        good = issuer.sign(issuer.access_token())
        assert told(app, good) == (200, [])

        for claims, reason in (
            ({"iss": "https://login.example/realms/demo"}, "invalid"),
            ({"sub": ...}, "invalid"),
            ({"exp": 1_000_000_000}, "expired"),
        ):
            status, heard = told(app, issuer.sign(issuer.access_token(**claims)))
            assert (status, [one.reason for one in heard]) == (401, [reason]), claims
            assert heard[0].detail
        sid = issuer.access_token()["sid"]
        provider = f"{issuer.url}/realms/demo"
        authority.revoke_labels([labels.sid_label(provider, sid)])
        status, heard = told(app, good)
        assert (status, [one.reason for one in heard]) == (401, ["revoked"])
        authority.close()


@pytest.mark.parametrize("how", ["refuses", "fails"])
def test_each_refusal_of_another_judge_is_told_once(make_app: MakeApp, how: str) -> None:
    """Whoever judges for an app need not announce it; a judge that fails is told of, too."""
    app, _ = make_app()

    def judge(text: str, environ: dict[str, Any]) -> Refusal:
        if how == "fails":
            raise OSError("the other judge is away")
        return Refusal("invalid", "not one of theirs")

    state_of(app).middleware.bearer_verifiers.append(judge)

    status, heard = told(app, "foreign.bearer")

    assert status == (401 if how == "refuses" else 503)
    assert [one.reason for one in heard] == ["invalid" if how == "refuses" else "stale"]
