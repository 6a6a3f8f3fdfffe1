"""What ``scripts/run-keycloak`` starts: Keycloak, the example on two hosts, nginx before them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from scripts.cluster_show import process, say, share_requests, until, up
from tests.keycloak.server import Keycloak
from tests.servers.ports import spare_ports

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("127.0.0.2", "127.0.0.3")


def realm_file(folder: Path, port: int, node_port: int) -> Path:
    """The demo's realm, with the ports of this run."""
    text = (ROOT / "example_keycloak" / "realm.json").read_text()
    made = folder / "realm.json"
    made.write_text(text.replace("NODE_PORT", str(node_port)).replace("PORT", str(port)))
    return made


def start_app(
    stack: ExitStack,
    folder: Path,
    *,
    port: int,
    node_port: int,
    keycloak: str,
    token_store: str,
    workers: int = 2,
) -> str:
    """The example on two hosts, and nginx at *port*; gives its address."""
    secret = secrets.token_hex(32)
    for host in HOSTS:
        stack.enter_context(
            process(
                [
                    *(sys.executable, "-m", "gunicorn", "--workers", str(workers)),
                    *("--config", "example_keycloak/gunicorn.conf.py"),
                    *("--bind", f"{host}:{node_port}", "example_keycloak:create_app()"),
                ],
                folder / f"{host}.log",
                NODE_HOST=host,
                INSTANCE=str(folder),
                KEYCLOAK_URL=keycloak,
                CLUSTERTOKEN_STORE=f"directory://{folder}/shared",
                CLUSTERTOKEN_TOKEN_STORE=token_store,
                CLUSTERTOKEN_SECRET=secret,
            )
        )
    for host in HOSTS:
        until(lambda one=host: up(f"http://{one}:{node_port}"), f"the app on {host}")  # type: ignore[misc]
    return share_requests(stack, folder, [f"{host}:{node_port}" for host in HOSTS], port)


def main() -> None:
    port = int(os.environ.get("PORT", "8000"))
    keycloak_port = int(os.environ.get("KEYCLOAK_PORT", "8180"))
    token_store = os.environ.get("TOKEN_STORE", "session")
    node_port = spare_ports(1, HOSTS)[0]
    # A terminate, or a terminal that is closed, ends the blocks below as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="clustertoken-keycloak-"))
    try:
        with ExitStack() as stack:
            say("Starting Keycloak (its first start takes some minutes) …")
            realm = realm_file(folder, port, node_port)
            server = stack.enter_context(Keycloak(port=keycloak_port, realm_file=realm))
            say("Starting the app on two hosts, two workers each …")
            base = start_app(
                stack,
                folder,
                port=port,
                node_port=node_port,
                keycloak=server.url,
                token_store=token_store,
            )
            say(
                f"""
  1  Open {base} and log in as alice, bob or carol; the password is the name.
     Reload a few times: the footer shows that any worker of both hosts knows you.
  2  Open {server.url}/realms/demo/account in the same browser and sign out
     (top right). Reload {base}: you are logged out.
  3  Log in again. Open {server.url}/admin/master/console/#/demo/users
     in a private window as root, password root; choose your user, "Sessions", and sign out.
     Reload {base}: logged out at once, on every worker.
  4  "Log out" in the app ends the session at Keycloak too.

  Ctrl-C stops everything.
"""
            )
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say("\nEverything was stopped, and nothing was left behind.")


if __name__ == "__main__":
    main()
