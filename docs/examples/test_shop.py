import pytest
from shop import create_app, greeting, tokens

from flask_clustertoken import ClusterToken
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.testing import TokenClient


@pytest.fixture
def app():
    app = create_app(TESTING=True, CLUSTERTOKEN_STORE="memory:")
    app.test_client_class = TokenClient
    return app


# -- a client that comes logged in --
def test_orders(app):
    assert app.test_client().get("/orders").status_code == 401
    assert app.test_client(subject="alice").get("/orders").text == "The orders of alice"


def test_robots_need_the_scope(app):
    right = app.test_client(subject="robot", scopes=["orders"])
    wrong = app.test_client(subject="robot", scopes=["stock"])
    assert right.get("/orders").status_code == 200
    assert wrong.get("/orders").status_code == 403


def test_logout_is_for_good(app):
    client = app.test_client(subject="alice")
    stolen = app.test_client()
    stolen.set_cookie("__Host-clustertoken", client.token_text)
    client.post("/logout")
    assert stolen.get("/orders").status_code == 401


# -- code outside views --
def test_greeting(app):
    with app.test_request_context():
        assert greeting() == "Hello"
        with tokens.acting_as("alice", {"role": "editor"}):
            assert greeting() == "Hello, alice"


# -- time --
def test_an_order_needs_a_fresh_login():
    from flask import Flask

    from flask_clustertoken import fresh_login_required

    clock = ManualClock()
    app = Flask("shop")
    app.config["CLUSTERTOKEN_STORE"] = "memory:"
    ClusterToken(app, clock=clock)
    app.post("/orders")(fresh_login_required(max_age=300)(lambda: "ordered"))
    app.test_client_class = TokenClient
    client = app.test_client(subject="alice")

    assert client.post("/orders").text == "ordered"
    clock.advance(301)
    assert client.post("/orders").status_code == 401


# -- end --
def try_it():
    def make():
        app = create_app(TESTING=True, CLUSTERTOKEN_STORE="memory:")
        app.test_client_class = TokenClient
        return app

    for test in (test_orders, test_robots_need_the_scope, test_logout_is_for_good, test_greeting):
        test(make())
    test_an_order_needs_a_fresh_login()
