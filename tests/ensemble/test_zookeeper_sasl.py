"""Signing on to ZooKeeper with SASL: who cannot, sees nothing; who can, stays signed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_clustertoken.errors import StoreError
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Record
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

pytestmark = pytest.mark.zookeeper

_PASSWORD = "only-for-tests"
_JAAS = f"""Server {{
    org.apache.zookeeper.server.auth.DigestLoginModule required
    user_app="{_PASSWORD}";
}};
"""

Open = Callable[[str], ZooKeeperStore]


@pytest.fixture(scope="module")
def strict(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ensemble]:
    """One server that knows a user ``app`` (once it is known that servers can be run here)."""
    jaas = tmp_path_factory.mktemp("sasl") / "jaas.conf"
    jaas.write_text(_JAAS)
    provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", f"-Djava.security.auth.login.config={jaas}")
        with Ensemble(1, settings=[f"authProvider.1={provider}"]) as servers:
            yield servers


@pytest.fixture
def signed_on(strict: Ensemble, zk_root: str) -> Iterator[Open]:
    made: list[ZooKeeperStore] = []

    def make(password: str) -> ZooKeeperStore:
        options: dict[str, Any] = {}
        if password:
            words = {"mechanism": "DIGEST-MD5", "username": "app", "password": password}
            options = {"sasl": words}
        store = open_store(strict.url(zk_root), options=options, timeout=6)
        assert isinstance(store, ZooKeeperStore)
        made.append(store)
        return store

    yield make
    for one in made:
        one.close()


def test_a_user_signs_on_and_everything_is_that_users(signed_on: Open) -> None:
    """What we make names its maker, and nobody who is not signed on sees it."""
    store = signed_on(_PASSWORD)
    store.put("a/b", b"v", None)
    assert store.get("a/b") == Record(b"v", None)
    client = store._open().line._zk
    rules, _ = client.get_acls(store._open().site.root)
    assert [(one.id.scheme, one.id.id) for one in rules] == [("sasl", "app")]
    with pytest.raises(StoreError):
        signed_on("").get("a/b")


def test_a_wrong_password_is_trouble(signed_on: Open) -> None:
    """Neither an answer nor an absence, and the password is not in the message."""
    with pytest.raises(StoreError) as caught:
        signed_on("not-the-password").get("a/b")
    assert "not-the-password" not in str(caught.value)


def test_a_user_is_signed_on_again_after_a_restart(strict: Ensemble, signed_on: Open) -> None:
    """The new connection signs on before anything is asked through it."""
    store = signed_on(_PASSWORD)
    store.put("a/b", b"v", None)
    strict.servers[0].kill()
    strict.start()

    def back() -> bool:
        try:
            return store.get("a/b") == Record(b"v", None)
        except StoreError:
            return False

    wait_until(back, 30)
