from flask import Flask

from flask_clustertoken import (
    ClusterToken,
    current_token,
    fresh_login_required,
    token_required,
)

tokens = ClusterToken()


def create_app(**config):
    app = Flask(__name__)
    app.config.from_mapping(config)
    tokens.init_app(app)

    @app.get("/orders")
    @token_required(scopes=["orders"])
    def orders():
        return f"The orders of {current_token.subject}"

    @app.post("/orders")
    @fresh_login_required(max_age=300)
    def order():
        return "ordered"

    @app.post("/logout")
    def logout():
        tokens.logout()
        return "Goodbye"

    return app


def greeting():
    return f"Hello, {current_token.subject}" if current_token else "Hello"


def try_it():
    app = create_app(CLUSTERTOKEN_STORE="memory:")
    assert app.test_client().get("/orders").status_code == 401
