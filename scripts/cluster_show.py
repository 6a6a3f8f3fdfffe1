"""The show of ``scripts/run-cluster``: starts the parts, uses them as people do, stops them."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded
from tests.servers.zookeeper import Ensemble

#: What the show runs on; either knows which of its servers leads.
Servers = Ensemble | Guarded

NODES = ("red", "green", "blue")
WORKERS = 2

_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream app {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://app;
            proxy_set_header Host $http_host;
            proxy_next_upstream error timeout http_503;
        }}
    }}
}}
"""


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* until the end of the block; it and whatever it started are ended then."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)


class Browser:
    """A person's browser, as far as this show needs one: it keeps the cookie."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookie = ""
        #: Answers of 503: a worker cannot know at the moment, and the cookie stays.
        self.waits = 0

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data)
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self.cookie:
            request.add_header("Cookie", self.cookie)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                self._keep(answer.headers.get("Set-Cookie"))
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                self._keep(error.headers.get("Set-Cookie"))
                self.waits += error.code == 503
                try:
                    return error.code, json.loads(error.read() or b"{}")
                except ValueError:
                    return error.code, {}

    def _keep(self, header: str | None) -> None:
        if header:
            self.cookie = header.partition(";")[0]

    def log_in(self, name: str) -> None:
        wish = {"username": name, "password": name}
        until(lambda: self.ask("/login", wish)[0] == 200, f"the login of {name}")


def until(done: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - start


def up(base: str) -> bool:
    try:
        return Browser(base).ask("/readyz")[0] == 200
    except OSError:
        return False


def where(person: Browser, seconds: float = 30.0) -> set[str]:
    """The workers that answered, each having accepted the login: all of them, if they all come.

    (Which of a host's workers takes a request is for the kernel to say, and it has favourites.)
    """
    found: set[str] = set()
    end = time.monotonic() + seconds
    while len(found) < len(NODES) * WORKERS and time.monotonic() < end:
        status, me = person.ask("/api/me")
        if status == 503:
            # (A worker that is not fresh yet, or not at the moment.)
            time.sleep(0.05)
            continue
        if status != 200:
            raise SystemExit(f"the login was not accepted: {status} {me}")
        found.add(f"{me['node']['name']}:{me['node']['pid']}")
    return found


def refused(person: Browser, times: int = 30) -> bool:
    return all(person.ask("/api/me")[0] == 401 for _ in range(times))


def share_requests(stack: ExitStack, folder: Path, hosts: Sequence[str], port: int) -> str:
    """Nginx at *port* before *hosts*, without stickiness; gives its address."""
    servers = "\n        ".join(f"server {one} max_fails=0;" for one in hosts)
    config, log = folder / "nginx.conf", folder / "ng.log"
    config.write_text(_NGINX.format(folder=folder, servers=servers, port=port))
    nginx = shutil.which("nginx") or "nginx"
    started = stack.enter_context(process([nginx, "-c", str(config), "-p", str(folder)], log))
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        if started.poll() is not None:
            raise SystemExit(f"nginx ended at once. It said:\n{log.read_text(errors='replace')}")
        return up(base)

    until(answers, "nginx")
    return base


def start_servers(stack: ExitStack, store: str) -> tuple[Servers, str]:
    """The servers of the store, and its URL."""
    if store == "redis":
        say("Starting three Redis servers and three Sentinels …")
        guarded = stack.enter_context(Guarded(settings={"appendonly": "yes"}))
        return guarded, guarded.url
    say("Starting three ZooKeeper servers …")
    ensemble = stack.enter_context(Ensemble(3))
    # Written with the root behind each server, the form that Panopticon's manual shows.
    return ensemble, "zookeeper://" + ",".join(f"{one.address}/pano" for one in ensemble.servers)


def start_parts(stack: ExitStack, folder: Path, port: int, store: str) -> tuple[Servers, str]:
    ensemble, url = start_servers(stack, store)
    secret = secrets.token_hex(32)
    ports = spare_ports(len(NODES))
    say("Starting three gunicorns, two workers each …")
    for name, one in zip(NODES, ports, strict=True):
        stack.enter_context(
            process(
                [
                    *(sys.executable, "-m", "gunicorn", "--config", "example_app/gunicorn.conf.py"),
                    *("--bind", f"127.0.0.1:{one}", "--workers", str(WORKERS)),
                    "example_app:create_app()",
                ],
                folder / f"{name}.log",
                NODE_NAME=name,
                INSTANCE=str(folder / name),
                CLUSTERTOKEN_STORE=url,
                CLUSTERTOKEN_SECRET=secret,
                PORT=str(one),
            )
        )
    for name, one in zip(NODES, ports, strict=True):
        until(lambda base=f"http://127.0.0.1:{one}": up(base), f"gunicorn {name}")  # type: ignore[misc]
    base = share_requests(stack, folder, [f"127.0.0.1:{one}" for one in ports], port)
    say(f"nginx shares the requests among them at {base}, without stickiness.\n")
    return ensemble, base


def show(ensemble: Servers, base: str) -> None:
    alice, phone, bob, admin = (Browser(base) for _ in range(4))
    alice.log_in("alice")
    phone.log_in("alice")
    bob.log_in("bob")
    admin.log_in("admin")
    found = where(alice)
    say(f"alice logged in once; her login was accepted by {len(found)} workers:")
    say(f"    {', '.join(sorted(found))}")

    alice.ask("/logout", {})
    start = time.monotonic()
    gone = until(lambda: phone.ask("/api/me")[0] == 200 and refused(alice), "the log-out")
    say(f"alice logged out: refused by every worker after {gone * 1000:.0f} ms; her phone is not.")

    leader = ensemble.leader()
    where(bob)
    kind = "Redis" if isinstance(ensemble, Guarded) else "ZooKeeper"
    say(f"\nKilling the {kind} server that leads …")
    leader.kill()
    bob.waits = 0
    where(bob)
    say("    bob goes on working, on every worker, while another one takes its place.")
    if bob.waits:
        say(f"    ({bob.waits} of his requests met a worker that asked him to wait: 503.)")
    status = 0
    while status != 200 and time.monotonic() - start < 60:
        status = admin.ask("/api/subjects/alice/logout", {})[0]
    gone = until(lambda: refused(phone), "the administrator's log-out")
    say(f"    the administrator logged alice out everywhere: refused after {gone * 1000:.0f} ms.")
    leader.start()
    ensemble.wait_ready()
    say("    the server is back.")

    phone.log_in("alice")
    where(phone)
    say("\nalice logged in again right after it: good on every worker.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["zookeeper", "redis"], default="zookeeper")
    parser.add_argument("--stay", action="store_true", help="go on until Ctrl-C")
    arguments = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    # A terminate, or a terminal that is closed, ends the blocks below as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="clustertoken-show-"))
    try:
        with ExitStack() as stack:
            ensemble, base = start_parts(stack, folder, port, arguments.store)
            show(ensemble, base)
            if arguments.stay:
                say(f"\nOpen {base} and log in as alice, bob or admin. Ctrl-C stops everything.")
                signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say("\nEverything was stopped, and nothing was left behind.")


if __name__ == "__main__":
    main()
