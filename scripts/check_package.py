"""Builds sdist and wheel, installs the wheel alone into fresh environments, and uses it there.

What the tree has beside the package (the tests, an editable install) hides what the package
forgot. So the wheel is made from the sdist, installed where nothing else is, and has to run the
quickstart there, outside of the tree. Then each extra by itself: what it promises is imported, and
nothing that another one brings is there.

Needs a package index, as every installation does. ``python scripts/check_package.py``
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "pins.txt"

#: What one step may take, in seconds.
LIMIT = 300

#: Of the tree nothing but what is in it: no build of before, no environment.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "instance")

#: What has to be in the sdist besides the package, so that whoever packages it can test it.
IN_SDIST = ["tests/conftest.py", "docs/index.rst", "scripts/run-tests", "LICENSE", "CHANGES.md"]

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""

#: What a program that has the package sees of it, whatever else it installed.
CORE = """
import os, subprocess, sys
import flask_clustertoken
assert "site-packages" in flask_clustertoken.__file__, flask_clustertoken.__file__
folder = os.path.dirname(flask_clustertoken.__file__)
assert os.path.exists(os.path.join(folder, "py.typed"))
for name in flask_clustertoken.__all__:
    getattr(flask_clustertoken, name)
command = [sys.executable, "-m", "flask_clustertoken", "--help"]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
"""

QUICKSTART = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name).try_it()
"""

#: The drivers of each extra: what it brings, and no other one does.
DRIVERS = {
    "": [],
    "redis": ["redis"],
    "postgresql": ["psycopg"],
    "zookeeper": ["kazoo"],
    "oidc": ["joserfc", "cryptography", "requests"],
    "keycloak": ["authlib", "joserfc", "cryptography", "requests"],
    "binding": ["joserfc", "cryptography"],
    "console": ["ua_parser"],
    "metrics": ["prometheus_client"],
    "otel": ["opentelemetry"],
    "async": ["asgiref"],
}

#: What each extra promises; ``""``: what is said where it is missing.
PROMISES = {
    "": """
from flask_clustertoken import Settings
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.stores import open_store
try:
    open_store("zookeeper://127.0.0.1:1/app").root()
except ConfigurationError as error:
    assert "zookeeper" in str(error), error
else:
    raise AssertionError("a store without its driver")
""",
    "redis": """
from flask_clustertoken.stores import open_store
open_store("redis://127.0.0.1:1").close()
import redis
""",
    "postgresql": """
from flask_clustertoken.stores import open_store
open_store("postgresql://127.0.0.1:1/app").close()
import psycopg
from psycopg import pq
""",
    "zookeeper": """
from flask_clustertoken.stores import open_store
open_store("zookeeper://127.0.0.1:1/app").close()
import flask_clustertoken.stores.zookeeper
""",
    "oidc": """
from flask import Flask
from flask_clustertoken import ClusterToken
from flask_clustertoken.providers import BackChannelLogout
app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
ClusterToken(app)
BackChannelLogout(app, issuer="http://127.0.0.1:1", client_id="app")
said = app.test_client().post("/oidc/backchannel-logout", data={"logout_token": "e.e.e"})
assert said.status_code == 400, said
import flask_clustertoken.oidc
""",
    "keycloak": """
import importlib, pkgutil
import flask_clustertoken.keycloak as keycloak
for module in pkgutil.walk_packages(keycloak.__path__, keycloak.__name__ + "."):
    importlib.import_module(module.name)
""",
    "binding": """
from flask_clustertoken import ClusterTokenMiddleware
from flask_clustertoken.binding import proof
ClusterTokenMiddleware(lambda environ, start: [], store="memory:", device_bound="offer")
""",
    "console": """
from flask import Flask
from flask_clustertoken import ClusterToken
from flask_clustertoken.console import Console, Devices
from flask_clustertoken.wsgi import device_of
agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
assert device_of({"HTTP_USER_AGENT": agent}) == "Firefox on Windows"
app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
tokens = ClusterToken(app)
Devices(app)
Console(app, may=lambda token: token.subject == "alice")
app.add_url_rule("/in", "in", lambda: tokens.login("alice").id, methods=["POST"])
client = app.test_client()
client.post("/in", base_url="https://localhost")
for words, language in (("Your devices", "en"), ("Ihre Ger\u00e4te", "de")):
    headers = {"Accept-Language": language}
    page = client.get("/account/devices", base_url="https://localhost", headers=headers)
    assert words in page.text, page.text
for page in ("/", "/people", "/tokens", "/api-tokens", "/keys", "/audit", "/revocations", "/files"):
    shown = client.get(f"/console{page}", base_url="https://localhost")
    assert shown.status_code == 200, page
style = client.get("/account/devices/static/clustertoken.css")
assert style.status_code == 200, style
""",
    "metrics": """
from flask import Flask
from flask_clustertoken import ClusterToken
from flask_clustertoken.metrics import Metrics
app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
ClusterToken(app)
Metrics(app)
assert app.test_client().get("/metrics").status_code == 200
""",
    "otel": """
from flask import Flask
from flask_clustertoken import ClusterToken
from flask_clustertoken.tracing import Tracing
app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
ClusterToken(app)
Tracing(app, sessions=True)
""",
    "async": """
from flask import Flask
from flask_clustertoken import ClusterToken, token_required
app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
ClusterToken(app)
@app.get("/")
@token_required
async def home():
    return "in"
assert app.test_client().get("/").status_code == 401
""",
}

FOREIGN = """
import importlib.util, sys
found = [name for name in sys.argv[1:] if importlib.util.find_spec(name)]
assert not found, f"another extra's: {found}"
"""


def run(command: list[str], folder: Path) -> str:
    """What *command* printed; its output and :class:`SystemExit` where it failed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(command)[:200]}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def environment(folder: Path, *wanted: str) -> list[str]:
    """The Python, isolated from everything else, of a new environment that has *wanted*."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--constraint", str(PINS)]
    run([*pip, *quiet, *wanted], folder)
    return [python, "-I"]


def build(folder: Path) -> Path:
    """The wheel, made from the sdist, which was made from a copy of the tree."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
    python = environment(folder / "builder", "setuptools>=70.1")
    run([*python, "-c", BUILD, "build_sdist", str(folder)], tree)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (source,) = (folder / "sdist").iterdir()
    missing = [name for name in IN_SDIST if not (source / name).exists()]
    if missing:
        sys.exit(f"not in the sdist: {', '.join(missing)}")
    run([*python, "-c", BUILD, "build_wheel", str(folder)], source)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    strange = [
        name for name in names if not name.startswith(("flask_clustertoken/", "Flask_", "flask_"))
    ]
    if strange:
        sys.exit(f"in the wheel beside the package: {', '.join(strange)}")
    return wheel


def try_extra(wheel: Path, extra: str, folder: Path) -> str:
    """Install *wheel* with *extra* alone, and see what it promises."""
    folder.mkdir()
    python = environment(folder / "venv", f"{wheel}[{extra}]" if extra else str(wheel))
    run([*python, "-c", CORE], folder)
    run([*python, "-c", PROMISES[extra]], folder)
    others = {one for name, some in DRIVERS.items() if name != extra for one in some}
    run([*python, "-c", FOREIGN, *sorted(others - set(DRIVERS[extra]))], folder)
    if not extra:
        for example in ("quickstart_eight", "quickstart_login"):
            shutil.copy(ROOT / "docs" / "examples" / f"{example}.py", folder)
            program = f"import sys; sys.path.insert(0, {str(folder)!r})\n{QUICKSTART}"
            run([*python, "-c", program, example], folder)
        app = str(folder / "quickstart_login.py")
        run([*python, "-m", "flask", "--app", app, "tokens", "nodes"], folder)
    return extra or "the wheel alone, with the quickstart"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        print(f"built {wheel.name} from its sdist", flush=True)
        with ThreadPoolExecutor(2) as pool:
            tries = [
                pool.submit(try_extra, wheel, extra, folder / (extra or "alone"))
                for extra in PROMISES
            ]
            for one in tries:
                print(f"works: {one.result()}", flush=True)


if __name__ == "__main__":
    main()
