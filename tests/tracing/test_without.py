"""Without OpenTelemetry: nothing of it is imported, and asking for it says what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("more", [NOTHING_OF_IT, MISSING], ids=["nothing of it", "missing"])
def test_an_app_does_without_it(more: str) -> None:
    """In a process of its own: this one has imported it."""
    command = [sys.executable, "-c", APP + more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
