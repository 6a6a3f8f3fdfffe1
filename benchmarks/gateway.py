"""The gateway: what it costs a reverse proxy to ask, beside a bare app and oauth2-proxy.

One nginx, which asks each of them by ``auth_request`` and answers itself; one of them is under
load at a time, with the bare app (a WSGI app that answers 204, under the same gunicorn) measured
before and after. Asked directly, without nginx, as well: there the share is plainer.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from tests.servers.ports import spare_ports

from .measure import wait_until
from .run import Result, Run, markdown_table
from .servers import CannotRun
from .svg import bars

TITLE = "The gateway, behind nginx"

#: Gunicorn's, the same for the bare app and ours; oauth2-proxy takes what processors it wants.
WORKERS, CONNECTIONS = 2, 16
STARTS, ROUNDS, SECONDS = 3, 8, 1.0

ROOT = Path(__file__).resolve().parent.parent
#: (As a variable: no comma in it, which would make two of it.)
SECRET = "0123456789abcdef" * 4
#: Where the Go program is built, once: it takes minutes.
BUILT = ROOT / ".cache" / "benchmarks"
MODULE = "github.com/oauth2-proxy/oauth2-proxy/v7@latest"

WHAT = {
    "bare": "a WSGI app that answers 204",
    "bare-again": "the same once more (the control)",
    "ours": "ours: a seen login",
    "oauth2-cookie": "oauth2-proxy, its session in the cookie",
    "oauth2-redis": "oauth2-proxy, its session in Redis",
}

SITE = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
{temporary}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /none {{ return 200 "ok"; }}
{locations}
    }}
}}
"""

LOCATION = """
        location = /{name} {{ auth_request /_{name}; try_files /nothing @ok; }}
        location = /_{name} {{
            internal;
            proxy_pass http://127.0.0.1:{port}{path};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Original-URI $request_uri;
            proxy_buffer_size 16k;
            proxy_buffers 8 16k;
        }}
"""


def bare(environ: object, start_response: object) -> list[bytes]:
    """For gunicorn: ``benchmarks.gateway:bare``."""
    start_response("204 No Content", [])  # type: ignore[operator]
    return []


@dataclass(frozen=True)
class Peer:
    """Where one is asked, and what its client sends."""

    port: int
    path: str
    headers: Mapping[str, str]


def ask(
    port: int, path: str, headers: Mapping[str, str], body: str | None = None
) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET" if body is None else "POST", path, body, dict(headers))
    return connection


def status(port: int, path: str, headers: Mapping[str, str]) -> int:
    connection = ask(port, path, headers)
    try:
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str] = {}) -> Iterator[None]:
    """A server, until it answers and until it has ended."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended at once")
        with suppress(OSError, HTTPException):
            return status(port, "/none", {}) > 0
        return False

    try:
        wait_until(answers, 60, f"{command[0]}'s first answer")
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def gunicorn(app: str, port: int) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--log-level", "error"]
    command += ["--config", "python:flask_clustertoken.gunicorn", "--bind", f"127.0.0.1:{port}"]
    return [*command, app]


@contextmanager
def ours(folder: str) -> Iterator[Peer]:
    """The gateway on an embedded store, and a login that it knows."""
    store = f"directory://{folder}/shared"
    authority = TokenAuthority(Settings(store=store, secret=(SECRET,)), active=False)
    try:
        issued = authority.issue_login("alice", {"role": "editor"})
    finally:
        authority.close()
    headers = {"Cookie": f"__Host-clustertoken={issued.text}"}
    settings = {
        "CLUSTERTOKEN_STORE": store,
        "CLUSTERTOKEN_SECRET": SECRET,
        "CLUSTERTOKEN_GATEWAY_TRUSTED": "127.0.0.1",
    }
    (port,) = spare_ports(1)
    with running(gunicorn("flask_clustertoken.gateway:create_app()", port), port, settings):
        wait_until(lambda: status(port, "/readyz", {}) == 200, 30, "a fresh worker")
        yield Peer(port, "/auth", headers)


def oauth2_proxy(run: Run) -> str:
    """The program: the one in PATH, or built here."""
    found = shutil.which("oauth2-proxy") or shutil.which("oauth2-proxy", path=str(BUILT))
    if found is not None:
        return found
    if (go := _go()) is None:
        raise CannotRun("neither oauth2-proxy nor Go is installed")
    BUILT.mkdir(parents=True, exist_ok=True)
    run.say("building oauth2-proxy (minutes, once)")
    done = subprocess.run(
        [go, "install", MODULE], env={**os.environ, "GOBIN": str(BUILT)}, capture_output=True
    )
    if done.returncode != 0:
        raise CannotRun(f"oauth2-proxy cannot be built: {done.stderr.decode()[-300:]}")
    return str(BUILT / "oauth2-proxy")


@contextmanager
def oauth2(program: str, folder: str, store: str, redis_port: int) -> Iterator[Peer]:
    """oauth2-proxy, and a login that it knows: by a password file, which asks no provider."""
    (port,) = spare_ports(1)
    people = Path(folder, "htpasswd")
    digest = base64.b64encode(hashlib.sha1(b"alice").digest()).decode()
    people.write_text(f"alice:{{SHA}}{digest}\n")
    command = [
        program,
        f"--http-address=127.0.0.1:{port}",
        *("--provider=github", "--client-id=x", "--client-secret=x", "--email-domain=*"),
        f"--cookie-secret={'0123456789abcdef' * 2}",
        *("--cookie-secure=false", "--cookie-refresh=0", "--upstream=static://202"),
        *(f"--htpasswd-file={people}", "--reverse-proxy=true", "--set-xauthrequest=true"),
        *("--request-logging=false", "--auth-logging=false", "--standard-logging=false"),
        f"--session-store-type={store}",
        f"--redis-connection-url=redis://127.0.0.1:{redis_port}",
    ]
    with running(command, port):
        form = urlencode({"username": "alice", "password": "alice", "rd": "/"})
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Host": "app.example"}
        connection = ask(port, "/oauth2/sign_in", sent, form)
        answer = connection.getresponse()
        answer.read()
        cookies = [one.partition(";")[0] for one in answer.headers.get_all("Set-Cookie") or []]
        connection.close()
        named = [one for one in cookies if one.startswith("_oauth2_proxy") and "csrf" not in one]
        yield Peer(port, "/oauth2/auth", {"Cookie": "; ".join(named), "Host": "app.example"})


@contextmanager
def nginx(folder: str, peers: Mapping[str, Peer]) -> Iterator[int]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        raise CannotRun("nginx is not installed (Debian: apt-get install nginx)")
    (port,) = spare_ports(1)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    locations = "".join(
        LOCATION.format(name=name, port=one.port, path=one.path) for name, one in peers.items()
    )
    config = Path(folder, "nginx.conf")
    config.write_text(
        SITE.format(
            folder=folder,
            user="user root;" if os.getuid() == 0 else "",
            temporary="".join(f"    {name}_temp_path {folder}/{name};\n" for name in names),
            port=port,
            locations=locations + '        location @ok { return 200 "ok"; }\n',
        )
    )
    with running([program, "-c", str(config), "-p", folder], port):
        yield port


def load(port: int, path: str, headers: Mapping[str, str]) -> float:
    """Requests a second; each has to be answered with 2xx."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:g}s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
        check=True,
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(f"not every answer was a 2xx:\n{done.stdout}")
    return float(found[1])


def measure(run: Run) -> Result:
    if shutil.which("wrk") is None:
        raise CannotRun("wrk is not installed (Debian: apt-get install wrk)")
    missing = ""
    try:
        program = oauth2_proxy(run)
    except CannotRun as reason:
        program, missing = "", str(reason)
    starts, rounds = run.rounds(STARTS, 1), run.rounds(ROUNDS, 2)
    shares: dict[str, dict[str, list[float]]] = {}
    speeds: dict[str, dict[str, list[float]]] = {}
    for start in range(starts):
        run.say(f"start {start + 1} of {starts}")
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clustertoken-gw-"))
            peers = _started(stack, folder, program, run)
            port = stack.enter_context(nginx(folder, peers))
            _measure_round(peers, port, rounds, run, shares, speeds)
    return {
        "starts": starts,
        "rounds": rounds,
        "seconds_a_load": SECONDS,
        "left_out": missing,
        "version": _version(program),
        "rows": {
            way: {
                name: {
                    "share": round(median(found), 3),
                    "requests": round(median(speeds[way][name])),
                }
                for name, found in by_name.items()
            }
            for way, by_name in shares.items()
        },
    }


def _started(stack: ExitStack, folder: str, program: str, run: Run) -> dict[str, Peer]:
    headers = {"Cookie": "__Host-clustertoken=" + "x" * 270}
    peers: dict[str, Peer] = {}
    for name in ("bare", "bare-again"):
        (port,) = spare_ports(1)
        stack.enter_context(running(gunicorn("benchmarks.gateway:bare", port), port))
        peers[name] = Peer(port, "/auth", headers)
    peers["ours"] = stack.enter_context(ours(folder))
    if program:
        for name, store in (("oauth2-cookie", "cookie"), ("oauth2-redis", "redis")):
            made = oauth2(program, folder, store, run.servers.redis_port)
            peers[name] = stack.enter_context(made)
    return peers


def _measure_round(
    peers: Mapping[str, Peer],
    port: int,
    rounds: int,
    run: Run,
    shares: dict[str, dict[str, list[float]]],
    speeds: dict[str, dict[str, list[float]]],
) -> None:
    def one(way: str, name: str) -> float:
        peer = peers[name]
        if way == "nginx":
            return load(port, f"/{name}", peer.headers)
        return load(peer.port, peer.path, {**peer.headers, "X-Original-Method": "GET"})

    for way in ("nginx", "direct"):
        for name in peers:
            one(way, name)  # warm
        before = one(way, "bare")
        others = [name for name in peers if name != "bare"]
        for count in range(rounds):
            run.say(f"{way}, round {count + 1} of {rounds}")
            random.shuffle(others)
            for name in others:
                speed = one(way, name)
                after = one(way, "bare")
                speeds.setdefault(way, {}).setdefault(name, []).append(speed)
                speeds[way].setdefault("bare", []).append(after)
                shares.setdefault(way, {}).setdefault("bare", []).append(1.0)
                shares[way].setdefault(name, []).append(speed / ((before + after) / 2))
                before = after


def _version(program: str) -> str:
    """What Go says of it: the program itself knows its number only as its makers' own builds."""
    if not program:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    said = (done.stdout + done.stderr).strip()[:100]
    if (go := _go()) is not None:
        asked = subprocess.run([go, "version", "-m", program], capture_output=True, text=True)
        modules = [line.split() for line in asked.stdout.splitlines()]
        built = [words[2] for words in modules if words[:1] == ["mod"] and len(words) > 2]
        said = said.replace("undefined", built[0]) if built else said
    return said


def _go() -> str | None:
    return shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin:/usr/lib/go/bin")


def table(result: Result) -> str:
    ways = {"nginx": "behind nginx", "direct": "asked directly"}

    def cell(way: str, name: str) -> str:
        found = result["rows"][way][name]
        return f"{found['share']:.2f} ({found['requests']:,}/s)"

    rows = [
        [WHAT[name], *(cell(way, name) for way in ways)]
        for name in WHAT
        if name in result["rows"]["nginx"]
    ]
    left_out = f" oauth2-proxy was left out: {result['left_out']}." if result["left_out"] else ""
    return (
        f"nginx asks by auth_request and answers itself. gunicorn with {WORKERS} sync workers for "
        f"the bare app and for ours; wrk with {CONNECTIONS} connections, "
        f"{result['seconds_a_load']:g} s a load, {result['rounds']} rounds after each of "
        f"{result['starts']} starts. Share: of the requests/s of the bare app, measured before and "
        f"after. {result['version']}{left_out}\n\n"
        + markdown_table(["asked", *(f"share {one}" for one in ways.values())], rows)
    )


def plots(result: Result) -> dict[str, str]:
    rows = [
        (WHAT[name], one["requests"], name == "ours")
        for name, one in result["rows"]["nginx"].items()
    ]
    return {"gateway": bars("Requests a second behind nginx", rows, "/s")}
