"""What servers share over Redis while another server takes over, or comes back empty."""

from __future__ import annotations

import pytest

from tests.servers.redis import Guarded, Server
from tests.shared.failover import nothing_is_lost, what_was_lost_is_not_mixed_up
from tests.shared.places import Place

pytestmark = pytest.mark.redis


def test_sentinels_promote_a_replica() -> None:
    """Each write has been acknowledged by enough replicas: files are whole, slots stay taken, a
    lease has one holder, and its fence goes on."""
    with Guarded() as servers:
        old = servers.primary()

        def fails() -> None:
            old.kill()
            servers.wait_for_another(old)

        nothing_is_lost(Place(servers.url), fails)


def test_a_server_without_replicas_comes_back_empty(own_server: Server) -> None:
    """It forgot who had the lease; the fence goes on all the same."""

    def loses() -> None:
        own_server.kill()
        own_server.start()

    what_was_lost_is_not_mixed_up(Place(f"redis://127.0.0.1:{own_server.port}"), loses)
