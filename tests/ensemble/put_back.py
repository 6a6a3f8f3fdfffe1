"""An old copy of a store is put back, and more is gone than any node can put back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import tail
from tests.doubles import reason
from tests.waiting import wait_until

SECRET = "one key for every host of the test, long enough"


def more_than_anybody_can_mend(
    url: str,
    patch: pytest.MonkeyPatch,
    take: Callable[[], Callable[[], object]],
) -> None:
    """*take* makes a copy of the store, and gives what puts it back.

    Who knew more refuses. Who comes knows nothing of it, and accepts what had been revoked: so
    ``restored`` is to be run after each restore, and ends all logins of before, everywhere.
    """
    patch.setattr(tail, "ENTRIES", 8)
    settings = Settings(store=url, store_options={"settle": 0.5}, secret=(SECRET,), max_staleness=3)
    with (
        closing(TokenAuthority(settings)) as knowing,
        closing(TokenAuthority(settings)) as newcomer,
    ):
        alice, bob = (knowing.issue_login(name).text for name in ("alice", "bob"))
        put_back = take()
        wait_until(lambda: knowing.readiness().fresh, 60)
        knowing.revoke_subject("bob")
        for number in range(20):
            knowing.revoke_labels([f"label-{number}"])
        put_back()

        wait_until(lambda: "flask tokens restored" in knowing.readiness().trouble, 60)
        assert reason(knowing.authenticate(alice)) == "stale"
        assert reason(knowing.authenticate(bob)) == "revoked"
        wait_until(lambda: newcomer.readiness().fresh, 60)
        assert newcomer.authenticate(bob)

        newcomer.restored()
        for node in (knowing, newcomer):
            wait_until(lambda node=node: node.readiness().fresh, 60)  # type: ignore[misc]
            for text in (alice, bob):
                wait_until(lambda n=node, t=text: reason(n.authenticate(t)) == "revoked", 60)  # type: ignore[misc]
        late = newcomer.issue_login("alice").text
        wait_until(lambda: bool(knowing.authenticate(late)), 60)
