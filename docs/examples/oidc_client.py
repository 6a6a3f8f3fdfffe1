from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, url_for

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.errors import RevokedMeanwhile
from flask_clustertoken.providers import BackChannelLogout

# -- set-up --
app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_SECRET_KEY (Authlib's), FLASK_ISSUER, …
tokens = ClusterToken()
oauth = OAuth()


def create_app():
    issuer = app.config["ISSUER"]
    tokens.init_app(app)
    oauth.init_app(app)
    oauth.register(
        "provider",
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_id="shop",
        client_secret=app.config["CLIENT_SECRET"],
        client_kwargs={"scope": "openid", "code_challenge_method": "S256"},
    )
    app.provider = BackChannelLogout(app, issuer=issuer, client_id="shop")
    return app


# -- logging in --
@app.get("/login")
def login():
    return oauth.provider.authorize_redirect(url_for("callback", _external=True))


@app.get("/callback")
def callback():
    since = tokens.login_begins()  # before the code is exchanged
    userinfo = oauth.provider.authorize_access_token()["userinfo"]
    try:
        tokens.login(userinfo["sub"], since=since, labels=app.provider.labels(userinfo))
    except RevokedMeanwhile:  # logged out there while we were logging in here
        return redirect(url_for("login"))
    return redirect(url_for("me"))


@app.get("/me")
@token_required
def me():
    return f"You are {current_token.subject}."


# -- end --
def try_it():
    from urllib.parse import parse_qs, urlsplit

    from tests.keycloak.issuer import Issuer

    with Issuer() as there:
        app.config.update(
            ISSUER=there.issuer,
            CLIENT_SECRET="secret",
            SECRET_KEY="of Authlib's cookie",
            CLUSTERTOKEN_STORE="memory:",
            CLUSTERTOKEN_COOKIE_SECURE=False,
        )
        browser = create_app().test_client()
        asked = parse_qs(urlsplit(browser.get("/login").headers["Location"]).query)
        identity = there.id_token(asked["nonce"][0], aud="shop", azp="shop", at_hash=...)
        there.token = lambda _: there.json(
            {"token_type": "Bearer", "access_token": "a", "id_token": there.sign(identity)}
        )
        back = browser.get("/callback", query_string={"code": "c", "state": asked["state"][0]})
        assert back.headers["Location"] == "/me", back.text
        assert browser.get("/me").text == "You are alice."

        said = {"logout_token": there.sign(there.logout_token(aud="shop"))}
        assert browser.post("/oidc/backchannel-logout", data=said).status_code == 200
        assert browser.get("/me").status_code == 401
