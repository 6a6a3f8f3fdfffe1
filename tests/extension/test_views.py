"""Protected views: decorators in every order and form, kinds and scopes, freshness, policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flask_clustertoken import (
    ClusterToken,
    current_token,
    fresh_login_required,
    require_token,
    token_policy,
    token_required,
)
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from tests.extension.parts import (
    DAY,
    api_text,
    bearer,
    cookie,
    login_text,
    texts_set,
    watch,
)


def test_the_decorator_is_bare_or_called(site: tuple[Flask, ClusterToken]) -> None:
    """``@token_required`` and ``@token_required()`` protect alike."""
    app, _ = site

    @app.get("/bare")
    @token_required
    def bare() -> str:
        return "in"

    @app.get("/called")
    @token_required()
    def called() -> str:
        return "in"

    client = app.test_client()
    headers = cookie(login_text(app))
    for path in ("/bare", "/called"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers).text == "in"


def test_arguments_reach_the_view(site: tuple[Flask, ClusterToken]) -> None:
    """What the route gives, the view gets."""
    app, _ = site

    @app.get("/of/<int:number>")
    @token_required
    def of(number: int) -> str:
        return f"{number + 1}"

    assert app.test_client().get("/of/4", headers=cookie(login_text(app))).text == "5"


def shouting(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def shouted(*args: Any, **kwargs: Any) -> str:
        return str(view(*args, **kwargs)).upper()

    return shouted


@pytest.mark.parametrize(
    "decorators",
    [
        (token_required, shouting),
        (shouting, token_required),
        (token_policy(slide=False), token_required, shouting),
        (token_required, shouting, token_policy(slide=False)),
    ],
)
def test_the_order_of_decorators_does_not_matter(
    site: tuple[Flask, ClusterToken], decorators: tuple[Any, ...]
) -> None:
    """Above or below another decorator, the view is protected and the other one works."""
    app, _ = site

    def view() -> str:
        return f"in: {current_token.subject}"

    for decorate in decorators:
        view = decorate(view)
    app.add_url_rule("/view", "ordered", view)

    assert app.test_client().get("/view").status_code == 401
    assert app.test_client().get("/view", headers=cookie(login_text(app))).text == "IN: ALICE"


def test_async_views_are_protected(site: tuple[Flask, ClusterToken]) -> None:
    """A coroutine function is a view like any other, and what stands above may await it."""
    app, _ = site

    def awaiting(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        async def awaited() -> Any:
            return "awaited " + await view()

        return awaited

    @app.get("/async")
    @token_required
    async def alone() -> str:
        return current_token.subject or ""

    @app.get("/above")
    @awaiting
    @token_required
    async def above() -> str:
        return current_token.subject or ""

    @app.get("/below")
    @token_required(slide=False)
    @awaiting
    async def below() -> str:
        return current_token.subject or ""

    client, headers = app.test_client(), cookie(login_text(app))
    for path, said in [
        ("/async", "alice"),
        ("/above", "awaited alice"),
        ("/below", "awaited alice"),
    ]:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers).text == said


def test_a_method_view_is_protected_by_its_decorators(site: tuple[Flask, ClusterToken]) -> None:
    """``MethodView.decorators`` protects each of its methods, sync and async."""
    app, _ = site

    class Items(MethodView):
        decorators = [token_required(slide=False)]  # noqa: RUF012

        def get(self) -> str:
            return "items"

        async def post(self) -> str:
            return "made"

    app.add_url_rule("/items", view_func=Items.as_view("items"))
    client, headers = app.test_client(), cookie(login_text(app))

    assert client.get("/items").status_code == client.post("/items").status_code == 401
    assert client.get("/items", headers=headers).text == "items"
    assert client.post("/items", headers=headers).text == "made"


def test_preflight_requests_pass(site: tuple[Flask, ClusterToken]) -> None:
    """OPTIONS carries no credentials: answered by Flask, or by a view that handles it."""
    app, _ = site

    @app.route("/own", methods=["GET", "OPTIONS"], provide_automatic_options=False)
    @fresh_login_required(60)
    def own() -> str:
        return "own options"

    client = app.test_client()

    assert client.options("/me").status_code == 200
    assert client.options("/own").text == "own options"
    assert client.get("/own").status_code == 401


LOGIN, READ, NOTHING, NOBODY = "login", "api:read", "api:", "nobody"


@pytest.mark.parametrize(
    ("kind", "scopes", "who", "status"),
    [
        (None, (), NOBODY, 401),
        (None, (), LOGIN, 200),
        (None, (), NOTHING, 200),
        (None, ("read",), NOBODY, 401),
        (None, ("read",), LOGIN, 200),  # scopes limit API tokens only
        (None, ("read",), READ, 200),
        (None, ("read",), NOTHING, 403),
        (None, ("read", "write"), READ, 403),
        ("api", (), NOBODY, 401),
        ("api", (), LOGIN, 403),
        ("api", (), NOTHING, 200),
        ("api", ("read",), LOGIN, 403),
        ("api", ("read",), READ, 200),
        ("api", ("read",), NOTHING, 403),
        ("login", (), NOBODY, 401),
        ("login", (), LOGIN, 200),
        ("login", (), READ, 403),
        ("login", ("read",), READ, 403),
    ],
)
def test_kinds_and_scopes(
    site: tuple[Flask, ClusterToken],
    kind: Any,
    scopes: tuple[str, ...],
    who: str,
    status: int,
) -> None:
    """The table of who may enter: scopes limit API tokens, ``kind`` limits both."""
    app, _ = site

    @app.get("/view")
    @token_required(kind=kind, scopes=scopes)
    def view() -> str:
        return "in"

    headers = {
        NOBODY: dict[str, str],
        LOGIN: lambda: cookie(login_text(app)),
        READ: lambda: bearer(api_text(app, "alice", "read")),
        NOTHING: lambda: bearer(api_text(app)),
    }[who]()

    assert app.test_client().get("/view", headers=headers).status_code == status


def test_scopes_as_one_text_are_a_mistake(site: tuple[Flask, ClusterToken]) -> None:
    """A text is a list of letters to Python: it is refused wherever scopes or labels are given."""
    app, tokens = site

    with pytest.raises(TypeError, match="list"):
        token_required(scopes="read")
    with app.test_request_context(), tokens.acting_as("alice"):
        with pytest.raises(TypeError, match="list"):
            require_token(scopes="read")
        with pytest.raises(TypeError, match="list"):
            tokens.issue_api_token("alice", "robot", scopes="read")
        with pytest.raises(TypeError, match="list"):
            tokens.login("alice", labels="provider:1")


@pytest.mark.parametrize(
    ("error", "write"),
    [
        (TypeError, lambda: token_required("api")),
        (TypeError, lambda: token_required()("api")),
        (TypeError, lambda: token_required(scopes=None)),
        (TypeError, lambda: token_required(scopes=[1])),
        (TypeError, lambda: token_required(scopes=b"read")),
        (ValueError, lambda: token_required(kind="bogus")),
        (TypeError, lambda: fresh_login_required(lambda: "the view")),
        (TypeError, lambda: fresh_login_required("300")),
        (ValueError, lambda: fresh_login_required(-1)),
        (ValueError, lambda: fresh_login_required(float("nan"))),
    ],
)
def test_a_mistake_in_a_decorator_stops_the_start(
    error: type[Exception], write: Callable[[], Any]
) -> None:
    """It is told where it is written, by name, and not with each request or with some."""
    with pytest.raises(error, match=r"kind|scopes|max_age"):
        write()


def test_a_mistake_in_require_token_is_told_to_everybody(site: tuple[Flask, ClusterToken]) -> None:
    """Also with a login, which no scope would limit, and where nobody is logged in."""
    app, tokens = site
    with app.test_request_context():
        with pytest.raises(ValueError, match="kind"):
            require_token("bogus")  # type: ignore[arg-type]
        with tokens.acting_as("alice"), pytest.raises(TypeError, match="scopes"):
            require_token(scopes=None)  # type: ignore[arg-type]


def test_scopes_that_can_be_read_only_once_hold_for_every_request(
    site: tuple[Flask, ClusterToken],
) -> None:
    """A generator is read where it is written: used up, it would ask for nothing."""
    app, _ = site

    @app.get("/view")
    @token_required(scopes=(one for one in ["read"]))  # type: ignore[arg-type]
    def view() -> str:
        return "in"

    client, headers = app.test_client(), bearer(api_text(app))
    for _ in range(2):
        assert client.get("/view", headers=headers).status_code == 403


def test_require_token_gives_the_token(site: tuple[Flask, ClusterToken]) -> None:
    """Typed code gets the token itself, no proxy that may be falsy."""
    app, _ = site

    @app.get("/typed")
    def typed() -> str:
        token = require_token()
        return token.subject.upper()

    assert app.test_client().get("/typed", headers=cookie(login_text(app))).text == "ALICE"


@pytest.fixture
def vault(site: tuple[Flask, ClusterToken]) -> Flask:
    app, _ = site

    @app.get("/vault")
    @fresh_login_required(max_age=300)
    def vault() -> str:
        return "gold"

    return app


def test_freshness_ends_with_the_age_of_the_credentials(vault: Flask, clock: ManualClock) -> None:
    """A login is fresh for ``max_age`` seconds after its credentials were checked."""
    headers = cookie(login_text(vault))
    client = vault.test_client()

    clock.advance(300)
    assert client.get("/vault", headers=headers).text == "gold"
    clock.advance(1)
    stale = client.get("/vault", headers=headers)
    assert stale.status_code == 401
    assert stale.json is not None
    assert stale.json["error"] == "fresh_login_required"
    # The login itself is good.
    assert client.get("/me", headers=headers).status_code == 200


def test_a_renewal_makes_no_login_fresh(vault: Flask, clock: ManualClock) -> None:
    """Only checking credentials again makes fresh: a renewed cookie does not."""
    client = vault.test_client()
    client.post("/login/alice")
    clock.advance(2 * DAY)

    assert texts_set(client.get("/me")), "it was renewed"
    assert client.get("/vault").status_code == 401
    client.post("/login/alice")
    assert client.get("/vault").status_code == 200


def test_freshness_goes_by_when_a_provider_checked(vault: Flask, clock: ManualClock) -> None:
    """``authenticated_at`` counts, not the moment at which the token was made."""
    old = login_text(vault, authenticated_at=clock.time() - 301)
    new = login_text(vault, authenticated_at=clock.time() - 299)

    assert vault.test_client().get("/vault", headers=cookie(old)).status_code == 401
    assert vault.test_client().get("/vault", headers=cookie(new)).status_code == 200


def test_an_api_token_is_never_fresh(vault: Flask) -> None:
    """Nobody types a password for a robot."""
    assert vault.test_client().get("/vault", headers=bearer(api_text(vault))).status_code == 403


def test_strict_asks_the_store_itself(site: tuple[Flask, ClusterToken]) -> None:
    """Where a remembered answer would do, ``strict=True`` asks for the record again."""
    app, _ = site
    store = watch(app)

    @app.get("/strict")
    @token_policy(strict=True)
    def strict() -> str:
        return current_token.subject or "nobody"

    @app.get("/late")
    def late() -> str:
        before = bool(current_token)
        require_token(strict=True)
        return str(before)

    client, headers = app.test_client(), cookie(login_text(app))
    client.get("/me", headers=headers)
    store.calls.clear()

    client.get("/me", headers=headers)
    assert not store.calls["get"], "a token that was seen costs no read"
    assert client.get("/strict", headers=headers).text == "alice"
    assert store.calls["get"] == 1
    assert client.get("/late", headers=headers).text == "True"
    assert store.calls["get"] == 2, "also where somebody looked before it was asked for"


def test_strict_sees_a_record_that_was_deleted_by_hand(site: tuple[Flask, ClusterToken]) -> None:
    """What the store does not have, a strict view does not accept, cache or no cache."""
    app, _ = site
    client, headers = app.test_client(), cookie(login_text(app))

    @app.get("/strict")
    @token_required(strict=True)
    def strict() -> str:
        return "in"

    assert client.get("/strict", headers=headers).status_code == 200
    authority = state_of(app).authority
    (token,) = authority.tokens_of("alice")
    authority.store.delete(token.record_key)

    assert client.get("/me", headers=headers).status_code == 200, "remembered for RECORD_CACHE"
    assert client.get("/strict", headers=headers).status_code == 401


def test_strict_after_a_login_of_the_same_request(site: tuple[Flask, ClusterToken]) -> None:
    """A login made in this request stands, whatever the cookie was that came with it."""
    app, tokens = site

    @app.post("/again")
    def again() -> str:
        tokens.login("bob")
        return require_token(strict=True).subject

    answer = app.test_client().post("/again", headers=cookie(login_text(app)))

    assert answer.text == "bob"
