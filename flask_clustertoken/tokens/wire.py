"""Wire: the one spelling of a token as text.

It is ``version . key id . payload . signature``; an API token wears a prefix in front and a
checksum behind, for secret scanners. The payload is base64url of JSON; the signature is
itsdangerous' HMAC with SHA-256 (its default, SHA-1, is legacy in ASVS 5.0), with kind, realm
and token store in its salt, so that one kind never passes for another.

Base64 decoders are lenient: 20 of 100,000 random one-byte mutants of an itsdangerous token
are accepted when the signature is decoded before it is compared (measured). Here the
signature is compared as text with the one spelling that we would write ourselves.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Protocol

from itsdangerous import Signer

from ..settings import TokenStore
from .refusals import Refusal
from .token import Claims, Token, TokenKind, is_id

#: The highest number of the wire form that is read: the one of tokens that are bound to a key.
#: Whoever knows no bound tokens must refuse them, not accept them without their proof.
VERSION = 2

#: The form of all other tokens.
UNBOUND_VERSION = 1

#: Characters of a text beyond which nothing is read.
TEXT_LIMIT = 8192

_WIRE = re.compile(
    r"(?P<version>[1-9][0-9]{0,2})\.(?P<key>[0-9a-f]{12})"
    r"\.(?P<payload>[A-Za-z0-9_-]{8,})\.(?P<signature>[A-Za-z0-9_-]{43})",
    re.ASCII,
)


#: Keys that are kept ready to sign with: those of a realm, and of one that is being rotated.
_READY = 32

#: A payload as text. (Called by name it would be made anew each time.)
_spell = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


#: What is left of a token that something on the way has quoted, joined, wrapped or cut short.
_REMNANT = re.compile(
    r"[1-9][0-9]{0,2}\.[0-9a-f]{12}|\A[1-9][0-9]{0,2}\.[0-9a-f]{0,11}\Z", re.ASCII | re.IGNORECASE
)


class KeyHolder(Protocol):
    """Where the wire form finds its keys; :class:`~flask_clustertoken.tokens.KeyRing` is one."""

    def signing(self) -> tuple[str, bytes]:
        """Id and secret of the key that signs."""
        ...

    def verifying(self, key_id: str, kind: TokenKind) -> bytes | Refusal:
        """The secret of that key, or why texts signed with it are refused."""
        ...


def b64(raw: bytes) -> str:
    """*raw* in URL-safe characters, without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """What :func:`b64` made *text* of; lenient, so only for what is known to be genuine."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Wire:
    """Writes and reads the texts of one realm."""

    def __init__(
        self, keys: KeyHolder, *, realm: str, token_store: TokenStore, api_prefix: str
    ) -> None:
        self._keys = keys
        self._realm = realm
        self._token_store = token_store
        self.api_prefix = api_prefix
        self._signers: dict[tuple[bytes, TokenKind], Signer] = {}

    def sign(self, secret: bytes, kind: TokenKind, value: str) -> str:
        """The signature of *value*; kind, realm and token store go into it."""
        signer = self._signers.get((secret, kind)) or self._signer(secret, kind)
        return signer.get_signature(value).decode()

    def _signer(self, secret: bytes, kind: TokenKind) -> Signer:
        """What signs with the key that is derived of *secret*, once for many signatures."""
        # An API token always has a record, whatever the logins do.
        where = self._token_store if kind == "login" else "record"
        salt = f"flask-clustertoken|{kind}|{self._realm}|{where}"
        derived = Signer(
            secret, salt=salt, key_derivation="hmac", digest_method=sha256
        ).derive_key()
        signer = Signer(derived, key_derivation="none", digest_method=sha256)
        if len(self._signers) >= _READY:
            self._signers = {}
        self._signers[secret, kind] = signer
        return signer

    def write(self, token: Token) -> str:
        """The text of *token*, signed with the signing key."""
        key_id, secret = self._keys.signing()
        payload: dict[str, Any] = {
            "i": token.id,
            "s": token.subject,
            "n": token.since,
            "e": token.epoch,
            "t": token.issued_at,
        }
        if token.authenticated_at != token.issued_at:
            payload["a"] = token.authenticated_at
        if token.first_issued_at is not None:
            payload["f"] = token.first_issued_at
        if token.expires_at is not None:
            payload["x"] = token.expires_at
        if token.labels:
            payload["l"] = token.labels
        if not token.persistent:
            payload["p"] = 0
        if token.bound_key:
            payload["k"] = token.bound_key
        if token.succeeds:
            payload["o"] = token.succeeds
        if token.generation is not None:
            payload["g"] = token.generation
        if token.kind == "login" and self._token_store == "cookie" and token.claims:
            payload["c"] = token.claims
        raw = _spell(payload).encode()
        version = VERSION if token.bound_key else UNBOUND_VERSION
        value = f"{version}.{key_id}.{b64(raw)}"
        text = f"{value}.{self.sign(secret, token.kind, value)}"
        return self._wrap(text) if token.kind == "api" else text

    def _wrap(self, text: str) -> str:
        return f"{self.api_prefix}_{text}.{zlib.crc32(text.encode()):08x}"

    def looks_like_api(self, text: str) -> bool:
        return text.startswith(f"{self.api_prefix}_")

    def _unwrap(self, text: str) -> str | Refusal:
        if not self.looks_like_api(text):
            return Refusal("invalid", "not an API token")
        inner, _, _ = text[len(self.api_prefix) + 1 :].rpartition(".")
        if not text.isascii() or self._wrap(inner) != text:
            return Refusal("invalid", "the checksum of the API token is wrong")
        return inner

    def read(self, text: str, kind: TokenKind) -> Token | Refusal:
        """The token that *text* spells, if the signature holds; nothing else is judged.

        No store is asked and no field is read before the signature held.
        """
        if not text:
            return Refusal("invalid", "the token is empty", garbled=True)
        if len(text) > TEXT_LIMIT:
            return _formless("longer than any token", text)
        if kind == "api":
            inner = self._unwrap(text)
            if isinstance(inner, Refusal):
                return inner
            text = inner
        match = _WIRE.fullmatch(text)
        if match is None:
            return _formless("not the form of a token", text)
        form = int(match["version"])
        if form > VERSION:
            why = f"a token of form {form}: written by a newer version"
            return Refusal("stale", why, unknown_form=form)
        secret = self._keys.verifying(match["key"], kind)
        if isinstance(secret, Refusal):
            return secret
        value, _, signature = text.rpartition(".")
        if not compare_digest(self.sign(secret, kind, value), signature):
            return Refusal("invalid", "the signature does not hold")
        try:
            return _token(json.loads(unb64(match["payload"])), kind, match["key"])
        except (ValueError, TypeError, KeyError) as error:
            return Refusal("invalid", "a genuine signature over no token", cause=error)


def _formless(detail: str, text: str) -> Refusal:
    """Why *text* is no token; not garbled where the browser may hold a good one all the same."""
    remnant = _REMNANT.search(text, 0, TEXT_LIMIT)
    if remnant is None:
        return Refusal("invalid", detail, garbled=True)
    return Refusal("invalid", f"{detail}: something on the way has changed it")


def _token(data: Any, kind: TokenKind, key_id: str) -> Token:
    token = Token(
        id=data["i"],
        subject=data["s"],
        kind=kind,
        issued_at=data["t"],
        authenticated_at=data.get("a", data["t"]),
        first_issued_at=data.get("f"),
        expires_at=data.get("x"),
        claims=Claims(data.get("c", {})),
        labels=tuple(data.get("l", ())),
        since=data["n"],
        epoch=data["e"],
        persistent=data.get("p", 1) != 0,
        key_id=key_id,
        bound_key=data.get("k", ""),
        succeeds=data.get("o", ""),
        generation=data.get("g"),
    )
    numbers: Sequence[Any] = (
        token.issued_at,
        token.authenticated_at,
        token.since,
        token.began_at,
        token.generation or 0,
    )
    if not all(isinstance(one, int) for one in numbers) or not is_id(token.id):
        raise ValueError("wrong types")
    texts: Sequence[Any] = (token.bound_key, token.succeeds)
    if not all(isinstance(one, str) for one in texts):
        raise ValueError("wrong types")
    if kind == "login" and not isinstance(token.expires_at, int):
        raise ValueError("a login token without an end")
    return token
