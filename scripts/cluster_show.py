"""The show of ``scripts/run-cluster``: starts the parts, uses them as people do, stops them."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.cluster_cut import CutOff
from scripts.cluster_people import (
    NODES,
    WORKERS,
    Browser,
    log_alice_out,
    refused,
    say,
    until,
    up,
    where,
)
from tests.servers.ports import spare_ports
from tests.servers.redis import Guarded
from tests.servers.zookeeper import Ensemble

#: What the show runs on; each knows which of its servers leads.
Servers = Ensemble | Guarded | CutOff

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
        client_max_body_size 3m;
        location / {{
            proxy_pass http://app;
            proxy_set_header Host $http_host;
            proxy_next_upstream error timeout http_503;
            # Room for the cookies of an answer to a login: Keycloak's tokens take up to 4 KB.
            proxy_buffer_size 8k;
        }}
    }}
}}
"""


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


def start_servers(stack: ExitStack, store: str) -> tuple[Servers, Sequence[str]]:
    """The servers of the store, and the URL that each node has for it."""
    if store == "postgresql":
        say("Starting two PostgreSQL servers, one the synchronous standby of the other …")
        servers = stack.enter_context(CutOff())
        return servers, servers.urls
    if store == "redis":
        say("Starting three Redis servers and three Sentinels …")
        guarded = stack.enter_context(Guarded(settings={"appendonly": "yes"}))
        return guarded, [guarded.url] * len(NODES)
    say("Starting three ZooKeeper servers …")
    ensemble = stack.enter_context(Ensemble(3))
    # Written with the root behind each server, the form that Panopticon's manual shows.
    url = "zookeeper://" + ",".join(f"{one.address}/pano" for one in ensemble.servers)
    return ensemble, [url] * len(NODES)


def start_parts(
    stack: ExitStack, folder: Path, port: int, store: str
) -> tuple[Servers, str, list[str]]:
    """The servers, and the addresses of nginx and of each node."""
    ensemble, urls = start_servers(stack, store)
    secret = secrets.token_hex(32)
    ports = spare_ports(len(NODES))
    say("Starting three gunicorns, two workers each …")
    for name, one, url in zip(NODES, ports, urls, strict=True):
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
    return ensemble, base, [f"http://127.0.0.1:{one}" for one in ports]


def show(ensemble: Servers, base: str, nodes: Sequence[str]) -> None:
    alice, phone, bob, admin = (Browser(base) for _ in range(4))
    alice.log_in("alice")
    phone.log_in("alice")
    bob.log_in("bob")
    admin.log_in("admin")
    found = where(alice)
    say(f"alice logged in once; her login was accepted by {len(found)} workers:")
    say(f"    {', '.join(sorted(found))}")

    alice.ask("/logout", {})
    gone = until(lambda: phone.ask("/api/me")[0] == 200 and refused(alice), "the log-out")
    say(f"alice logged out: refused by every worker after {gone * 1000:.0f} ms; her phone is not.")

    if isinstance(ensemble, CutOff):
        ensemble.show(bob, phone, admin, nodes)
    else:
        lose_the_leader(ensemble, bob, phone, admin)

    phone.log_in("alice")
    where(phone)
    say("\nalice logged in again right after it: good on every worker.")


def lose_the_leader(
    ensemble: Ensemble | Guarded, bob: Browser, phone: Browser, admin: Browser
) -> None:
    """The server that leads is killed; the others choose another one."""
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
    log_alice_out(admin, phone)
    leader.start()
    ensemble.wait_ready()
    say("    the server is back.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--store", choices=["zookeeper", "redis", "postgresql"], default="zookeeper"
    )
    parser.add_argument("--stay", action="store_true", help="go on until Ctrl-C")
    arguments = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    # A terminate, or a terminal that is closed, ends the blocks below as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="clustertoken-show-"))
    try:
        with ExitStack() as stack:
            ensemble, base, nodes = start_parts(stack, folder, port, arguments.store)
            show(ensemble, base, nodes)
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
