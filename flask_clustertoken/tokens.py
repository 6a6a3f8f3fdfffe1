"""Token: what the browser or the API client carries, and its one spelling on the wire.

The wire form is ``version . key id . payload . signature``; an API token wears a prefix in
front and a checksum behind, for secret scanners. The payload is base64url of JSON; the
signature is itsdangerous' HMAC with SHA-256 (its default, SHA-1, is legacy in ASVS 5.0), with
kind, realm and token store in its salt, so that one kind never passes for another.

Base64 decoders are lenient: 20 of 100,000 random one-byte mutants of an itsdangerous token
are accepted when the signature is decoded before it is compared (measured). Here the
signature is compared as text with the one spelling that we would write ourselves.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Literal, NoReturn, Protocol

from itsdangerous import Signer

from .errors import ConfigurationError
from .notices import digest
from .refusals import Refusal

#: The number of the wire form and of the record's form.
VERSION = 1

#: Characters of a text beyond which nothing is read.
TEXT_LIMIT = 8192

#: As a token's ``since``: no mark of "issued before" covers it (revocations of its id and its
#: labels do). For tokens that another issuer made.
UNNUMBERED = 2**62

TokenKind = Literal["login", "api"]
TokenStore = Literal["session", "cookie"]

_WIRE = re.compile(
    r"(?P<version>[1-9][0-9]{0,2})\.(?P<key>[0-9a-f]{12})"
    r"\.(?P<payload>[A-Za-z0-9_-]{8,})\.(?P<signature>[A-Za-z0-9_-]{43})",
    re.ASCII,
)


def _fixed(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError(
        "claims are fixed when the token is issued; change a copy: copy.deepcopy(token.claims)"
    )


class ClaimList(list[Any]):
    """A list within :class:`Claims`, as fixed as they are."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _fixed
    append = clear = extend = insert = pop = remove = reverse = sort = _fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class Claims(dict[str, Any]):
    """What the app put into a token: a dictionary that nobody changes, nor what is in it.

    One token serves many requests of a worker; a view that wrote into its claims would write
    into the next visitor's, and a renewal would sign it. It is a ``dict`` with lists and
    dictionaries in it, so that it can be sent as JSON as it is; ``copy.deepcopy`` gives plain
    ones.
    """

    def __init__(self, claims: Mapping[str, Any] | None = None) -> None:
        super().__init__({name: _fix(value) for name, value in dict(claims or {}).items()})

    __setitem__ = __delitem__ = __ior__ = _fixed
    clear = pop = popitem = setdefault = update = _fixed

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _fix(value: Any) -> Any:
    if isinstance(value, dict):
        return Claims(value)
    if isinstance(value, list):
        return ClaimList(map(_fix, value))
    return value


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token. Times are whole seconds since 1970.

    *id* stays the same through every renewal, and so do *issued_at* and *authenticated_at*.
    *expires_at* is ``None`` for an API token without an end. *scopes*, *name* and
    *created_by* are an API token's.
    """

    id: str
    subject: str
    kind: TokenKind
    issued_at: int
    authenticated_at: int
    expires_at: int | None
    claims: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    name: str = ""
    created_by: str = ""
    #: The feed's head before the credentials were checked: what "issued before" goes by.
    since: int = field(default=0, repr=False)
    #: The store's epoch at issue: a token of another store's life is refused.
    epoch: str = field(default="", repr=False)
    #: The cookie survives the browser's end.
    persistent: bool = field(default=True, repr=False)
    #: The key that signed the text that was presented.
    key_id: str = field(default="", repr=False)
    #: When it was made, more finely than *issued_at*; known from the record only.
    made_at: float = field(default=0.0, repr=False)
    #: The issue of the login's first token, where this one carries that login on.
    first_issued_at: int | None = field(default=None, repr=False)

    def __bool__(self) -> Literal[True]:
        return True

    @property
    def began_at(self) -> int:
        """When this login began: what its absolute lifetime counts from."""
        return self.issued_at if self.first_issued_at is None else self.first_issued_at

    @property
    def record_key(self) -> str:
        """Where the store keeps the record: by digest, found from the id alone."""
        return record_key(self.id)


def subject_tag(subject: str) -> bytes:
    return digest("subject", subject).to_bytes(8, "big")[:2]


def new_id(subject: str) -> str:
    """128 random bits behind 16 bits of the subject's digest, in 24 URL-safe characters."""
    return base64.urlsafe_b64encode(subject_tag(subject) + secrets.token_bytes(16)).decode()


def is_id(text: str) -> bool:
    """Whether *text* has the form of a token's id."""
    return re.fullmatch(r"[A-Za-z0-9_-]{24}", text, re.ASCII) is not None


def records_of(subject: str) -> str:
    """The prefix under which a subject's records lie (among those of few others)."""
    return f"token/{subject_tag(subject).hex()[:3]}/"


def record_key(token_id: str) -> str:
    """Raises :class:`ValueError` for what is no token id."""
    if not is_id(token_id):
        raise ValueError("this is not the id of a token")
    tag = base64.urlsafe_b64decode(token_id)[:2].hex()[:3]
    return f"token/{tag}/{sha256(token_id.encode()).hexdigest()[:40]}"


def view_keys(token: Token) -> tuple[int, ...]:
    """The digests under which a revocation of this token would stand in the view."""
    return (
        digest("id", token.id),
        digest(f"subject:{token.kind}", token.subject),
        *(digest("label", label) for label in token.labels),
    )


# -- the record ------------------------------------------------------------------------


def to_record(token: Token) -> bytes:
    """What the store keeps of a token. It never changes after it was added."""
    body = {
        "format": VERSION,
        "id": token.id,
        "subject": token.subject,
        "kind": token.kind,
        "issued_at": token.issued_at,
        "authenticated_at": token.authenticated_at,
        "claims": token.claims,
        "labels": token.labels,
        "scopes": token.scopes,
        "name": token.name,
        "created_by": token.created_by,
        "since": token.since,
        "epoch": token.epoch,
        "persistent": token.persistent,
        "key": token.key_id,
        "made_at": token.made_at,
        "first_issued_at": token.first_issued_at,
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class NewerForm(ValueError):
    """Written by a newer version of this library."""


def from_record(value: bytes, expires_at: int | None) -> Token:
    """Raises :class:`NewerForm` or :class:`ValueError` for what this version cannot read."""
    data = json.loads(value)
    if not isinstance(data, dict) or not isinstance(data.get("format"), int):
        raise ValueError("not a token's record")
    if data["format"] > VERSION:
        raise NewerForm(f"a record of form {data['format']}")
    try:
        return Token(
            id=data["id"],
            subject=data["subject"],
            kind=data["kind"],
            issued_at=data["issued_at"],
            authenticated_at=data["authenticated_at"],
            expires_at=expires_at,
            claims=Claims(data["claims"]),
            labels=tuple(data["labels"]),
            scopes=tuple(data["scopes"]),
            name=data["name"],
            created_by=data["created_by"],
            since=data["since"],
            epoch=data["epoch"],
            persistent=data["persistent"],
            key_id=data["key"],
            made_at=data.get("made_at", 0.0),
            first_issued_at=data.get("first_issued_at"),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a token's record") from error


# -- the wire --------------------------------------------------------------------------


class KeyHolder(Protocol):
    """Where the wire form finds its keys; :class:`~flask_clustertoken.keys.KeyRing` is one."""

    def signing(self) -> tuple[str, bytes]:
        """Id and secret of the key that signs."""
        ...

    def verifying(self, key_id: str, kind: TokenKind) -> bytes | Refusal:
        """The secret of that key, or why texts signed with it are refused."""
        ...


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
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

    def _sign(self, secret: bytes, kind: TokenKind, value: str) -> str:
        # An API token always has a record, whatever the logins do.
        where = self._token_store if kind == "login" else "record"
        signer = Signer(
            secret,
            salt=f"flask-clustertoken|{kind}|{self._realm}|{where}",
            key_derivation="hmac",
            digest_method=sha256,
        )
        return signer.get_signature(value).decode()

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
        if token.kind == "login" and self._token_store == "cookie" and token.claims:
            payload["c"] = token.claims
        raw = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        value = f"{VERSION}.{key_id}.{_b64(raw)}"
        text = f"{value}.{self._sign(secret, token.kind, value)}"
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
            return Refusal("invalid", "longer than any token", garbled=True)
        if kind == "api":
            inner = self._unwrap(text)
            if isinstance(inner, Refusal):
                return inner
            text = inner
        match = _WIRE.fullmatch(text)
        if match is None:
            return Refusal("invalid", "not the form of a token", garbled=True)
        if int(match["version"]) != VERSION:
            return Refusal(
                "stale", f"a token of form {match['version']}: written by a newer version"
            )
        secret = self._keys.verifying(match["key"], kind)
        if isinstance(secret, Refusal):
            return secret
        value, _, signature = text.rpartition(".")
        if not compare_digest(self._sign(secret, kind, value), signature):
            return Refusal("invalid", "the signature does not hold")
        try:
            return _token(json.loads(_unb64(match["payload"])), kind, match["key"])
        except (ValueError, TypeError, KeyError) as error:
            return Refusal("invalid", "a genuine signature over no token", cause=error)


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
    )
    numbers: Sequence[Any] = (
        token.issued_at,
        token.authenticated_at,
        token.since,
        token.began_at,
    )
    if not all(isinstance(one, int) for one in numbers) or not is_id(token.id):
        raise ValueError("wrong types")
    if kind == "login" and not isinstance(token.expires_at, int):
        raise ValueError("a login token without an end")
    return token


def with_record(wire: Token, record: Token) -> Token | None:
    """*wire* with what only the record knows; ``None`` where they are not the same token."""
    if (wire.id, wire.subject, wire.kind) != (record.id, record.subject, record.kind):
        return None
    return replace(
        wire,
        claims=record.claims,
        scopes=record.scopes,
        name=record.name,
        created_by=record.created_by,
    )


def check_api_prefix(prefix: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", prefix):
        raise ConfigurationError(
            "API_PREFIX", f"{prefix!r} is not usable.", "Use 2 to 16 of a-z, 0-9, a letter first."
        )
    return prefix
