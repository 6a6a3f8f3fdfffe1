"""A realm that moves from store to store: nobody is logged out, nothing revoked returns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import StoreNotOpen
from flask_clustertoken.operations import migrate
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.tokens import Token

SECRET = "one key for every host of the test, long enough"


def authority(url: str, realm: str) -> TokenAuthority:
    return TokenAuthority(Settings(store=url, realm=realm, secret=(SECRET,)))


def move_through(places: Sequence[str], realm: str) -> None:
    """From each place to the next one, with logins and revocations of each kind."""
    node = authority(places[0], realm)
    kept = [node.issue_login(f"kept-{n}", labels=[f"label-{n}"]).text for n in range(250)]
    ended = [node.issue_login(f"ended-{n}", labels=[f"gone-{n}"]) for n in range(6)]
    node.revoke_ids([one.token.id for one in ended[:2]])
    node.revoke_labels(["gone-2", "gone-3"])
    for subject in ("ended-4", "ended-5"):
        node.revoke_subject(subject)
    node.close()
    for source, target in pairwise(places):
        with open_store(source, realm=realm) as old, open_store(target, realm=realm) as new:
            moved = migrate(old, new)
            assert moved.entries >= 5
            assert new.head() >= moved.head
            with pytest.raises(StoreNotOpen):
                old.put("key", b"", None)
        node = authority(target, realm)
        assert all(isinstance(node.authenticate(text), Token) for text in kept)
        assert not any(isinstance(node.authenticate(one.text), Token) for one in ended)
        late = node.issue_login("late")
        assert isinstance(node.authenticate(late.text), Token)
        kept.append(late.text)
        node.close()
