"""The wire form: one spelling, and nothing else is ever a token."""

from __future__ import annotations

import base64
import json
import zlib
from random import Random

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.settings.readers import check_api_prefix
from flask_clustertoken.tokens import VERSION, KeyRing, Refusal, Token, Wire, new_id
from tests.doubles import SECRET, Cluster, store_of

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def a_wire(realm: str = "r", token_store: str = "session", prefix: str = "ctk") -> Wire:
    keys = KeyRing((SECRET,), clock=ManualClock())
    return Wire(keys, realm=realm, token_store=token_store, api_prefix=prefix)  # type: ignore[arg-type]


def a_token(kind: str = "login", **changes: object) -> Token:
    given: dict[str, object] = {
        "id": new_id("alice"),
        "subject": "alice",
        "kind": kind,
        "issued_at": 1_800_000_000,
        "authenticated_at": 1_800_000_000,
        "expires_at": 1_800_600_000 if kind == "login" else None,
        "since": 7,
        "epoch": "e",
    }
    return Token(**(given | changes))  # type: ignore[arg-type]


def accepted(wire: Wire, text: str, kind: str = "login") -> bool:
    return not isinstance(wire.read(text, kind), Refusal)  # type: ignore[arg-type]


def test_what_was_written_is_read() -> None:
    """Reading gives the token that was written, with its labels and its key."""
    wire = a_wire()
    token = a_token(labels=("sid",), authenticated_at=1_799_999_000, persistent=False)
    found = wire.read(wire.write(token), "login")
    assert isinstance(found, Token)
    assert found.key_id
    for name in ("id", "subject", "issued_at", "authenticated_at", "expires_at", "labels"):
        assert getattr(found, name) == getattr(token, name)
    assert not found.persistent
    assert (found.since, found.epoch) == (7, "e")


def test_claims_travel_only_in_the_token_store_cookie() -> None:
    """With the token store ``session`` the text holds no claims."""
    token = a_token(claims={"role": "Ünïcode"})
    for token_store, there in (("cookie", {"role": "Ünïcode"}), ("session", {})):
        wire = a_wire(token_store=token_store)
        found = wire.read(wire.write(token), "login")
        assert isinstance(found, Token)
        assert found.claims == there


@pytest.mark.parametrize("kind", ["login", "api"])
def test_no_single_changed_bit_is_accepted(kind: str) -> None:
    """Every single-bit flip of the text is refused."""
    wire = a_wire()
    text = wire.write(a_token(kind))
    assert accepted(wire, text, kind)
    for at in range(len(text)):
        for bit in range(8):
            mutant = text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]
            assert not accepted(wire, mutant, kind)


def test_no_random_mutant_is_accepted() -> None:
    """100,000 texts, one to three edits away from a token, are all refused, and none raises."""
    wire, rng = a_wire(), Random(20)
    text = wire.write(a_token(labels=("sid",)))
    alphabet = ALPHABET + "=.+/ \n\x00é€"
    for _ in range(100_000):
        mutant = text
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(mutant) + 1)
            new = rng.choice(alphabet)
            roll = rng.randrange(4)
            if roll == 0:
                mutant = mutant[:at] + new + mutant[at:]
            elif roll == 1:
                mutant = mutant[:at] + mutant[at + 1 :]
            elif roll == 2:
                mutant = mutant[:at] + new + mutant[at + 1 :]
            else:
                mutant = mutant[:at] + mutant[rng.randrange(len(mutant) + 1) :]
        assert mutant == text or not accepted(wire, mutant)


def test_a_signature_has_one_spelling() -> None:
    """Padding, the other alphabet and unused trailing bits spell the same bytes: refused."""
    wire = a_wire()
    value, _, signature = wire.write(a_token()).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=")
    spellings = {signature + "=", base64.b64encode(raw).decode(), base64.b32encode(raw).decode()}
    spellings |= {raw.hex(), signature + "\n", " " + signature, signature.upper()}
    # The last of 43 characters carries four bits: three others decode alike.
    spellings |= {
        signature[:-1] + one
        for one in ALPHABET
        if base64.urlsafe_b64decode(signature[:-1] + one + "=") == raw
    }
    spellings.discard(signature)
    assert len(spellings) > 7
    for spelling in spellings:
        assert not accepted(wire, f"{value}.{spelling}")


def test_a_payload_cannot_be_respelled() -> None:
    """The signature covers the text of the payload, not what it decodes to."""
    wire = a_wire()
    version, key, payload, signature = wire.write(a_token()).split(".")
    data = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    for respelled in (other, payload + "A", payload + "=", payload[:-1]):
        assert not accepted(wire, ".".join((version, key, respelled, signature)))


def test_structural_edits_are_refused() -> None:
    """Missing, doubled, swapped and added parts make no token."""
    wire = a_wire()
    parts = wire.write(a_token()).split(".")
    texts = [".".join(parts[:n]) for n in range(4)]
    texts += [".".join([*parts, "x"]), ".".join(parts[::-1]), "." + ".".join(parts)]
    texts += [".".join(parts).replace(".", ".."), '"' + ".".join(parts) + '"']
    texts += ["01" + ".".join(parts)[1:], ".".join([parts[0], parts[1].upper(), *parts[2:]])]
    for text in texts:
        assert not accepted(wire, text)


@pytest.mark.parametrize(
    "text",
    ["\x00", "x" * 65_536, "é" * 100, "\ud800", "1." * 4000, "null", "{}", "\u0661.a.b.c", "\n"],
)
def test_garbage_is_invalid_and_never_raises(text: str) -> None:
    """64 KB, NUL, surrogates and foreign digits are answers, not exceptions."""
    for kind in ("login", "api"):
        found = a_wire().read(text, kind)  # type: ignore[arg-type]
        assert isinstance(found, Refusal)
        assert found.reason == "invalid"


def test_kind_realm_and_token_store_are_signed() -> None:
    """A text of another kind, realm or token store is refused with the same key."""
    text = a_wire().write(a_token())
    api = a_wire().write(a_token("api"))
    assert accepted(a_wire(), text)
    assert accepted(a_wire(), api, "api")
    assert not accepted(a_wire(realm="other"), text)
    assert not accepted(a_wire(token_store="cookie"), text)
    assert not accepted(a_wire(), text, "api")
    assert not accepted(a_wire(), api)
    inner = api.removeprefix("ctk_").rpartition(".")[0]
    assert not accepted(a_wire(), inner)
    wrapped = f"ctk_{text}.{zlib.crc32(text.encode()):08x}"
    assert not accepted(a_wire(), wrapped, "api")


def test_another_api_prefix_is_refused() -> None:
    """The prefix is part of what an API token is, and its checksum has one spelling."""
    api = a_wire(prefix="acme").write(a_token("api"))
    assert api.startswith("acme_")
    assert not accepted(a_wire(), api, "api")
    text, _, checksum = a_wire().write(a_token("api")).rpartition(".")
    assert not accepted(a_wire(), f"{text}.{int(checksum, 16) ^ 1:08x}", "api")
    assert not accepted(a_wire(), f"{text}.0{checksum}", "api")


def test_api_token_survives_a_change_of_the_token_store() -> None:
    """An API token always has a record: where logins are kept does not matter to it."""
    assert accepted(a_wire(token_store="cookie"), a_wire().write(a_token("api")), "api")


def test_a_higher_version_is_stale() -> None:
    """A text of a newer form was written by a newer node: stale, so its cookie is kept."""
    text = a_wire().write(a_token())
    found = a_wire().read(f"{VERSION + 1}{text[1:]}", "login")
    assert isinstance(found, Refusal)
    assert found.reason == "stale"


def test_a_genuine_signature_over_nonsense_is_invalid() -> None:
    """What an older or broken writer signed is refused, never half believed."""
    wire = a_wire()
    key_id, secret = KeyRing((SECRET,), clock=ManualClock()).signing()
    good = {"i": new_id("a"), "s": "a", "n": 1, "e": "e", "t": 1, "x": 2}
    for wrong in (
        [],
        1,
        {},
        good | {"i": "short"},
        good | {"t": "1"},
        good | {"x": None},
        good | {"n": 1.5},
        good | {"l": 5},
    ):
        payload = base64.urlsafe_b64encode(json.dumps(wrong).encode().ljust(8)).decode().rstrip("=")
        value = f"1.{key_id}.{payload}"
        text = f"{value}.{wire.sign(secret, 'login', value)}"
        assert not accepted(wire, text), wrong


def test_no_unsigned_text_reaches_the_store(cluster: Cluster) -> None:
    """Nothing that a stranger can write makes a node ask the store.

    Save one look at who knows a key or form that this node does not, for all such texts together.
    """
    node = cluster.node()
    text = node.issue_login("alice").text
    assert node.authenticate(text)
    assert not node.authenticate(f"{VERSION + 1}{text[1:]}")
    asked = store_of(node).calls.copy()
    rng = Random(3)
    for _ in range(300):
        at = rng.randrange(len(text))
        mutant = text[:at] + rng.choice(ALPHABET) + text[at + 1 :]
        if mutant != text:
            assert not node.authenticate(mutant, rng.choice(("login", "api")))
    for mutant in ("", f"{VERSION + 1}{text[1:]}", "x" * 70_000, text + "\x00"):
        assert not node.authenticate(mutant)
    assert store_of(node).calls == asked


def test_no_unsigned_text_reaches_an_embedded_store(host: Cluster) -> None:
    """Nor where the node could look at the store cheaply."""
    node = host.node()
    text = node.issue_login("alice").text
    assert node.authenticate(text)
    host.clock.advance(60)
    asked = store_of(node).calls.copy()
    for mutant in (text[:-1] + ("A" if text[-1] != "A" else "B"), "rubbish"):
        assert not node.authenticate(mutant)
    assert store_of(node).calls == asked

    # Who knows a key or form is looked up, once for all.
    assert not node.authenticate(f"{VERSION + 1}{text[1:]}")
    asked = store_of(node).calls.copy()
    for number in range(100):
        assert not node.authenticate(f"{VERSION + 2 + number}" + text[1:])
    assert store_of(node).calls == asked


@pytest.mark.parametrize("prefix", ["", "A", "1a", "a_b", "a" * 17, "a b"])
def test_an_unusable_prefix_is_named(prefix: str) -> None:
    """A prefix that a scanner could not find stops the start."""
    with pytest.raises(ConfigurationError, match="API_PREFIX"):
        check_api_prefix(prefix)
