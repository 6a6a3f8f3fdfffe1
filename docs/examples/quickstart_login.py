from flask import Flask, request

from flask_clustertoken import ClusterToken, current_token, token_required

app = Flask(__name__)
tokens = ClusterToken(app)

PASSWORDS = {"alice": "wonderland"}  # yours are hashed, and in a database


@app.post("/login")
def login():
    since = tokens.login_begins()
    name = request.form["name"]
    if PASSWORDS.get(name) != request.form["password"]:
        return "Wrong name or password.\n", 403
    tokens.login(name, since=since)
    return f"Welcome, {name}.\n"


@app.post("/logout")
def logout():
    tokens.logout()
    return "Goodbye.\n"


@app.post("/logout-everywhere")
@token_required
def logout_everywhere():
    tokens.logout_everywhere()
    return "Goodbye, on every device.\n"


@app.get("/")
@token_required
def home():
    return f"Hello, {current_token.subject}!\n"


def try_it():
    from pathlib import Path

    laptop, phone, thief = (app.test_client() for _ in range(3))
    assert thief.post("/login", data={"name": "alice", "password": "guess"}).status_code == 403
    for client in (laptop, phone):
        client.post("/login", data={"name": "alice", "password": "wonderland"})
        assert client.get("/").text == "Hello, alice!\n"
    assert laptop.post("/logout").text == "Goodbye.\n"
    assert laptop.get("/").status_code == 401
    laptop.post("/login", data={"name": "alice", "password": "wonderland"})
    assert laptop.post("/logout-everywhere").status_code == 200
    assert phone.get("/").status_code == 401
    assert phone.get("/").json["reason"] == "revoked"
    assert Path("instance/shared").is_dir()
    assert Path("instance/token_secret").stat().st_mode & 0o777 == 0o600
