"""The record of a token: what was kept is read again, and what is newer is told from damage."""

from __future__ import annotations

import json

import pytest

from flask_clustertoken.tokens import NewerForm, Token, from_record, new_id, to_record


def test_records_round_trip_and_newer_ones_are_named() -> None:
    """A record gives back its token; a higher form is told from damage."""
    token = Token(
        id=new_id("ci"),
        subject="ci",
        kind="api",
        issued_at=1_800_000_000,
        authenticated_at=1_800_000_000,
        expires_at=None,
        claims={"a": [1]},
        scopes=("read",),
        name="ci",
        created_by="bob",
        since=7,
        epoch="e",
    )
    assert from_record(to_record(token, 900.0), None) == token
    newer = json.loads(to_record(token, 900.0)) | {"format": 2}
    with pytest.raises(NewerForm):
        from_record(json.dumps(newer).encode(), None)
    for damaged in (b"", b"[]", b"{}", b'{"format":1}', b"\xff"):
        with pytest.raises(ValueError, match=r"token|Expecting|decode"):
            from_record(damaged, None)
