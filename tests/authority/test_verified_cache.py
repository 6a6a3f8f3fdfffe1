"""VerifiedTokens: what was verified is remembered, bounded, and forgotten when it must be."""

from __future__ import annotations

import pytest

from flask_clustertoken.authority import verified_cache
from flask_clustertoken.authority.verified_cache import Verified, VerifiedTokens
from flask_clustertoken.tokens import Token, new_id


def seen(keys_generation: int = 1) -> Verified:
    token = Token(new_id("a"), "a", "login", 1, 1, 2)
    return Verified(token, recorded=True, ends_at=2.0, keys_generation=keys_generation)


def test_what_was_put_is_found_until_the_keys_change() -> None:
    """Another generation of keys knows nothing of what an older one had verified."""
    made, one = VerifiedTokens(), seen()
    assert made.get("text", 1) is None
    made.put("text", one)
    assert made.get("text", 1) is one
    assert made.get("text", 2) is None


def test_what_was_verified_before_a_change_is_not_put_after_it() -> None:
    """A verification in flight while the keys change leaves nothing behind."""
    made = VerifiedTokens()
    made.get("text", 1)
    made.get("other", 2)
    made.put("text", seen(1))
    assert made.get("text", 2) is None
    assert made.get("text", 2) is None


def test_the_memory_is_bounded_and_keeps_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two generations; what was looked at lately survives."""
    monkeypatch.setattr(verified_cache, "CAPACITY", 10)
    made, used = VerifiedTokens(), seen()
    made.get("", 1)
    made.put("used", used)
    for number in range(100):
        made.put(f"text-{number}", seen())
        assert made.get("used", 1) is used
        assert len(made.young) + len(made._old) <= 22


def test_doubt_asks_for_every_record_again() -> None:
    """Signatures stay verified; what the store said, before the doubt, does not."""
    made, one = VerifiedTokens(), seen()
    made.put("text", one)
    one.known_until, one.doubts = 1e9, made.doubts
    made.doubt()
    assert one.doubts != made.doubts
    assert made.get("text", 1) is one
