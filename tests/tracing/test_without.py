"""Without OpenTelemetry, or before it is set up: nothing of it is imported, and nothing fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

APP = """
import sys
from flask import Flask
import flask_clustertoken
from flask_clustertoken import ClusterToken
app = Flask(__name__)
app.config.update(CLUSTERTOKEN_STORE="memory:", CLUSTERTOKEN_COOKIE_SECURE=False)
tokens = ClusterToken(app)
@app.post("/login")
def login():
    tokens.login("alice")
    return "in"
client = app.test_client()
assert client.post("/login", headers={"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})
"""

NOTHING_OF_IT = """
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert "flask_clustertoken.tracing" not in sys.modules
"""

MISSING = """
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from flask_clustertoken.tracing import Tracing
from flask_clustertoken.errors import MissingDriver
try:
    Tracing(app, sessions=True)
except MissingDriver as error:
    assert "Flask-ClusterToken[otel]" in str(error), error
else:
    raise AssertionError("said nothing")
# (Nothing was begun.)
assert client.post("/login").status_code == 200
"""


#: As under gunicorn, where each worker sets up its exports once it is there.
SET_UP_LATER = """
from flask_clustertoken.tracing import Tracing
Tracing(app, sessions=True)
assert client.post("/login").status_code == 200
from opentelemetry._logs import set_logger_provider
from tests.tracing.parts import Told
told = Told()
set_logger_provider(told.provider)
assert client.post("/login").status_code == 200
assert [name for name, _ in told.events] == ["session.end", "session.start"], told.events
"""


@pytest.mark.parametrize(
    "more",
    [NOTHING_OF_IT, MISSING, SET_UP_LATER],
    ids=["nothing of it", "missing", "set up later"],
)
def test_an_app_does_without_it(more: str) -> None:
    """In a process of its own: this one has imported it, and has one provider at most."""
    command = [sys.executable, "-c", APP + more]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
