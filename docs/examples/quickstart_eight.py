from flask import Flask

from flask_clustertoken import ClusterToken, current_token, token_required

app = Flask(__name__)
tokens = ClusterToken(app)


@app.get("/")
@token_required
def home():
    return f"Hello, {current_token.subject}!\n"


def try_it():
    from pathlib import Path

    lines = Path("quickstart_eight.py").read_text().partition("def try_it")[0].splitlines()
    assert len([line for line in lines if line]) == 8
    answer = app.test_client().get("/")
    assert answer.status_code == 401
    assert answer.json == {
        "error": "unauthorized",
        "message": "You need to be logged in.",
        "reason": "missing",
    }
    assert not Path("instance").exists()
