"""Who may read and change what the ZooKeeper store makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_clustertoken.errors import (
    StoreUnavailable,
)
from flask_clustertoken.stores.base import (
    Record,
)
from flask_clustertoken.stores.zookeeper.feed import TAIL_ENTRIES

from .handles import Open, everything_below, new

pytestmark = pytest.mark.zookeeper


def test_everything_that_is_made_belongs_to_who_signed_on(
    opened: Open, raw: Callable[..., Any], zk_root: str
) -> None:
    """With a user, every znode from the realm down has that user's access list alone."""
    store = opened(auth="digest:app:s3cret")
    store.add("token/3fa/abc", b"v", None)
    store.append([new(f"e{n}", b"x" * 500) for n in range(TAIL_ENTRIES)])
    store.announce("n1", b"")
    client = raw(auth_data=[("digest", "app:s3cret")])
    paths = everything_below(client, zk_root)
    assert any("/records/token/3fa/" in path for path in paths)
    assert any("/feed/pages/" in path for path in paths)
    for path in paths:
        (acl,) = client.get_acls(path)[0]
        assert (acl.id.scheme, acl.id.id.split(":")[0]) == ("digest", "app"), path


def test_who_did_not_sign_on_is_refused(opened: Open) -> None:
    """It is trouble with the server's refusal as its cause, never absence."""
    opened(auth="digest:app:s3cret").add("a/b", b"v", None)
    for stranger in (opened(), opened(auth="digest:app:guess")):
        with pytest.raises(StoreUnavailable) as caught:
            stranger.get("a/b")
        assert type(caught.value.__cause__).__name__ == "NoAuthError"
        with pytest.raises(StoreUnavailable):
            stranger.add("a/c", b"", None)


def test_an_open_store_is_said_once(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Without a user, the log says once a handle that anybody may change what is there."""
    store = opened()
    for _ in range(3):
        store.root()
    assert len([one for one in caplog.records if "may read and change" in one.message]) == 1


def test_nothing_secret_is_logged(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the password nor a value, also where every logger is told to say all."""
    caplog.set_level(1)
    store = opened(auth="digest:app:s3cret")
    store.put("a/b", b"private-value", None)
    assert store.get("a/b") == Record(b"private-value", None)
    assert "s3cret" not in caplog.text
    assert "private-value" not in caplog.text


def test_the_root_is_not_ours_alone(opened: Open, raw: Callable[..., Any], zk_root: str) -> None:
    """What else stands under the root is left alone, and two realms do not meet."""
    raw().create(f"{zk_root}/other/thing", b"theirs", makepath=True)
    store = opened()
    store.put("a/b", b"", None)
    assert sorted(raw().get_children(zk_root)) == ["default", "other"]
    assert store.scan("") == [("a/b", Record(b"", None))]
