"""Sealing: only who has the key reads, and nothing else is read than what was sealed."""

from __future__ import annotations

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.keycloak.sessions.sealing import Sealer
from flask_clustertoken.tokens import KeyRing, ring_bytes


def sealer(*keys: str) -> Sealer:
    return Sealer(
        KeyRing(keys or ("a key of more than thirty-two characters",), clock=ManualClock())
    )


def test_what_is_sealed_can_be_opened() -> None:
    """By the same keys, for the same purpose and the same login; twice it looks different."""
    one = sealer()
    text = one.seal({"a": [1, "ü"]}, "tokens", "login-1")

    assert one.open(text, "tokens", "login-1") == {"a": [1, "ü"]}
    assert one.open(text, "login", "login-1") is None
    assert one.open(text, "tokens", "login-2") is None
    assert one.seal({"a": [1, "ü"]}, "tokens", "login-1") != text


def test_every_changed_character_is_noticed() -> None:
    """A text that was changed anywhere is not readable, and raises nothing."""
    one = sealer()
    text = one.seal({"a": 1}, "tokens")
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert one.open(changed, "tokens") is None
    for junk in ("", ".", "..", "1.x.y", "1.0123456789ab.", "\x00", "1." + "é" * 10, "9" + text):
        assert one.open(junk, "tokens") is None


def test_a_text_has_one_spelling() -> None:
    """Base64 decoders overlook the last bits, and what is no letter of theirs."""
    one = sealer()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # Each length of the padding, which depends on what was sealed.
    texts = [one.seal("x" * size, "tokens") for size in range(1, 4)]
    texts += [one.seal(letters[:size], "tokens") for size in range(20, 26)]
    for text in texts:
        bare = text.rstrip("=")
        padding = text[len(bare) :]
        opened = [last for last in letters if one.open(bare[:-1] + last + padding, "tokens")]
        assert len(opened) <= 1
        assert one.open(text + "=", "tokens") is None
        assert one.open(text[:-8] + "*" + text[-8:], "tokens") is None
        assert one.open(text.replace("=", "") + "\n" + padding, "tokens") is None


def test_keys_rotate() -> None:
    """An older key still opens; a dropped one does not; a foreign one never did."""
    old, new = "o" * 40, "n" * 40
    text = sealer(old).seal("x", "tokens")

    assert sealer(new, old).open(text, "tokens") == "x"
    assert sealer(new).open(text, "tokens") is None
    ring = KeyRing((new, old), clock=ManualClock())
    ring.load_states(ring_bytes({ring.held[0]: "signing", ring.held[1]: "dropped"}))
    assert Sealer(ring).open(text, "tokens") is None


def test_a_bomb_is_not_unpacked() -> None:
    """A small text does not become a large value."""
    one = sealer()

    assert one.open(one.seal("x" * 10_000_000, "tokens"), "tokens") is None
