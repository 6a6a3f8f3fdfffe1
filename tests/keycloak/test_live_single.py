"""One worker, one request at a time: Keycloak calls back while the app logs out."""

from __future__ import annotations

import time

import pytest

from tests.keycloak.app import Make
from tests.keycloak.nodes import Nodes
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.pace import moments
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

pytestmark = [pytest.mark.keycloak, pytest.mark.gunicorn]

HOSTS = ("127.0.0.1",)


@pytest.mark.parametrize("store", ["session", "cookie"])
@pytest.mark.parametrize("path", ["/logout", "/logout-both"])
def test_a_single_worker_logs_out(server: Keycloak, config: Make, store: str, path: str) -> None:
    """The logout is answered at once, Keycloak's session ends, and its call back is served."""
    port = spare_ports(1, HOSTS)[0]
    server.make_client("single", adminUrl=f"http://127.0.0.1:{port}/keycloak")
    server.log_out("alice")
    more = ("--worker-class", "sync", "--access-logfile", "-")
    made = config(server.url, "single", store)
    with Nodes(made, port=port, hosts=HOSTS, workers=1, more=more) as nodes:
        person = Person()
        assert person.log_in(nodes.url(), "alice").status_code == 200
        began = time.monotonic()

        assert person.post(nodes.url() + path).status_code == 200

        wait_until(lambda: server.sessions("alice") == [])
        assert time.monotonic() - began < 4 + moments(50)
        wait_until(lambda: '"POST /keycloak/k_logout HTTP/1.1" 200' in nodes.log())
        assert nodes.exceptions() == []
    server.remove_client("single")
