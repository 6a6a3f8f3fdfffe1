"""The memory of verified tokens grew to ten times its capacity, and had no bound in bytes.

What was looked up in the old generation moved into the young one however full that was; and
40,000 logins with 13 KB of claims were 3.5 GB a worker.
"""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from flask_clustertoken.authority import verified_cache
from flask_clustertoken.authority.verified_cache import Verified, VerifiedTokens, weigh
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import (
    KeyRing,
    Token,
    Wire,
    from_record,
    new_id,
    to_record,
    with_record,
)
from flask_clustertoken.tokens.token import Claims
from tests.doubles import SECRET, Cluster

CLAIMS: list[dict[str, Any]] = [
    {},
    {"roles": ["reader", "writer"]},
    {"groups": [f"group-{number}" for number in range(1000)]},
    {f"right-{number}": {"since": number * 1000} for number in range(500)},
]


def a_token(claims: dict[str, Any], number: int = 0) -> Token:
    at = 1_700_000_000 + number
    return Token(
        new_id("alice"), f"alice-{number}", "login", at, at, at + 600_000, claims=Claims(claims),
        since=at * 1_000_000, epoch="e" * 32,
    )  # fmt: skip


def seen(claims: dict[str, Any] | None = None) -> Verified:
    return Verified(a_token(claims or {}), recorded=True, ends_at=2.0, keys_generation=1)


def test_what_is_looked_up_again_and_again_does_not_outgrow_the_capacity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that is known is asked for after each new text: two generations, not more."""
    monkeypatch.setattr(verified_cache, "CAPACITY", 20)
    made = VerifiedTokens()
    for number in range(200):
        made.put(f"text-{number}", seen())
        for known in range(number + 1):
            made.get(f"text-{known}", 1)
        assert len(made) <= 40


@pytest.mark.parametrize("claims", CLAIMS, ids=["none", "few", "a list", "a tree"])
def test_the_bytes_are_bounded(claims: dict[str, Any]) -> None:
    """However large the claims: what is counted stays within what may be spent."""
    made, token = VerifiedTokens(8_000_000), a_token(claims)
    for number in range(200 if len(json.dumps(claims)) > 1000 else 12_000):
        entry = Verified(token, recorded=True, ends_at=2.0, keys_generation=1)
        made.put(f"text-{number}", entry)
        made.get(f"text-{number // 2}", 1)
        assert made.weight <= 8_000_000
    assert made.weight > 3_000_000


@pytest.mark.parametrize("claims", CLAIMS, ids=["none", "few", "a list", "a tree"])
def test_the_bytes_are_counted_honestly(claims: dict[str, Any]) -> None:
    """Against what Python says that it has allocated, for tokens as they come from the store."""
    many = 300 if len(json.dumps(claims)) < 100 else 30
    wire = Wire(
        KeyRing((SECRET,), clock=ManualClock()),
        realm="default",
        token_store="session",
        api_prefix="ctk",
    )
    tokens = [a_token(claims, number) for number in range(many)]
    made, texts = VerifiedTokens(2**40), [(wire.write(one), to_record(one, 0.0)) for one in tokens]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for text, record in texts:
            text = (text + " ")[:-1]
            token = wire.read(text, "login")
            assert isinstance(token, Token)
            entry = Verified(token, recorded=True, ends_at=1e9 + 0.5, keys_generation=1)
            known = with_record(token, from_record(record, token.expires_at))
            assert known is not None
            entry.token = known
            made.put(text, entry)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.8 * (after - before) <= made.weight <= 1.3 * (after - before)


def test_what_takes_a_large_share_is_not_kept() -> None:
    """One visitor with a megabyte of claims pushes nobody out."""
    made = VerifiedTokens(300_000)
    made.put("light", seen())
    made.put("heavy", seen(CLAIMS[2]))

    assert made.get("heavy", 1) is None
    assert made.get("light", 1) is not None


def test_claims_that_come_with_the_record_are_counted() -> None:
    """A login's text carries none: what it weighs is known once its record was read."""
    cluster = Cluster()
    node, other = cluster.node(), cluster.node()
    text = node.issue_login("alice", CLAIMS[1]).text
    cluster.step()
    for _ in range(3):
        assert other.authenticate(text)
    found = other.remembered.get(text, other.keys.generation)
    assert found is not None
    assert found.weight == weigh(text, found.token)
    assert found.token.claims == CLAIMS[1]
    cluster.close()


@pytest.mark.parametrize("value", [0, -1, 1000, True, 1e9, "64M"])
def test_the_setting_is_checked(value: Any) -> None:
    """What is no number of bytes, or holds no token, stops the start and says what to set."""
    with pytest.raises(ConfigurationError, match=r"CLUSTERTOKEN_TOKEN_CACHE.*whole number"):
        Settings.from_mapping({"CLUSTERTOKEN_TOKEN_CACHE": value})
    assert Settings.from_mapping({"CLUSTERTOKEN_TOKEN_CACHE": 2**24}).token_cache == 2**24
