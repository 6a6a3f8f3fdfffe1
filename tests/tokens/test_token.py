"""A token: ids that find their records, claims that nobody changes."""

from __future__ import annotations

import json

import pytest

from flask_clustertoken.tokens import is_id, new_id, record_key, records_of
from flask_clustertoken.tokens.token import Claims


def test_ids_are_random_and_find_their_shard() -> None:
    """An id has 128 random bits behind its subject's tag, so it finds its record alone."""
    ids = {new_id("alice") for _ in range(1000)}
    assert len(ids) == 1000
    for one in ids:
        assert is_id(one)
        assert record_key(one).startswith(records_of("alice"))
        assert one not in record_key(one)
    with pytest.raises(ValueError, match="not the id"):
        record_key("../../etc/passwd")


def test_nobody_changes_the_claims_of_a_shared_token() -> None:
    """A token serves many requests: writing into its claims is an error, reading is a dict's."""
    claims = Claims({"role": "editor"})

    for change in (
        lambda: claims.update(role="admin"),
        lambda: claims.__setitem__("role", "admin"),
        lambda: claims.pop("role"),
        lambda: claims.clear(),
    ):
        with pytest.raises(TypeError, match="fixed"):
            change()
    assert json.loads(json.dumps(claims)) == claims == {"role": "editor"}
