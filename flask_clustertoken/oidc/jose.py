"""Signatures: a provider's keys, and whether a text was signed with one of them.

joserfc does the cryptography. Only asymmetric algorithms are accepted: ``none`` and ``HS256``
would let anyone sign who knows the public key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from .errors import NotGenuine, NotSigned, Peer
from .remembered import Remembered

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
)  # fmt: skip

#: Bytes of a compact JWS beyond which nothing is decoded.
TEXT_LIMIT = 64 * 1024

#: Encoded bytes of its header: the four certificates of a long chain in ``x5c`` fit.
HEADER_LIMIT = 16 * 1024


def _key_set(peer: Peer, data: Any, unnamed: bool) -> KeySet:
    """The signing keys in *data*, without what this version does not know."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    keys: list[Any] = []
    listed = data.get("keys") if isinstance(data, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        if one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        if not isinstance(one.get("kid"), str) and not (unnamed and "kid" not in one):
            continue
        try:
            keys.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, TypeError):
            continue
    if not keys:
        raise peer.trouble("its list of keys holds no usable key")
    return KeySet(keys)


@cache
def _registry() -> Any:
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        """Our algorithms, without a warning at each use that one of them has a newer name."""

        # A certificate in x5c has more than the 512 bytes of joserfc's default, and a key of
        # 8,192 bits signs with more than its 1,024.
        max_header_length = HEADER_LIMIT
        max_signature_length = 4096
        max_payload_length = TEXT_LIMIT

        def check_header(self, header: dict[str, Any]) -> None:
            super().check_header(header)
            if header.get("crit") == []:
                # (RFC 7515, 4.1.11: it must not be empty. joserfc lets it pass.)
                raise UnsupportedHeaderError("'crit' in header is empty")

        def get_alg(self, name: str) -> Any:
            if name not in ALGORITHMS or name not in self.algorithms:
                raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
            return self.algorithms[name]

    from joserfc.errors import UnsupportedAlgorithmError, UnsupportedHeaderError

    # (RFC 7515, 4: what is not understood in a header is ignored, unless crit names it.)
    return Registry(strict_check_header=False)


class SigningKeys:
    """The keys of *peer*, fetched when needed.

    An unknown key id fetches them again, at most once in *pause* seconds; after *lifetime*
    seconds they are fetched again in any case, behind the requests, which go on with the old.
    *unnamed*: a text that names no key may be signed by any of them (RFC 7515, 4.1.4: a provider
    with one key needs no names).
    """

    def __init__(
        self,
        peer: Peer,
        fetch: Callable[[], Any],
        *,
        clock: Clock,
        pause: float = 10.0,
        lifetime: float = 86_400.0,
        unnamed: bool = False,
    ) -> None:
        self._peer = peer
        self._unnamed = unnamed
        self._keys = Remembered(
            peer,
            "its list of keys",
            lambda: _key_set(peer, fetch(), unnamed),
            clock=clock,
            lifetime=lifetime,
            pause=max(0.0, pause),
        )

    def verify(self, text: str, *, urgent: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and claims of *text*, if a key of the provider signed it.

        *urgent*: it will not come again, as a logout does not. For those an unknown key fetches
        the keys once a second, whatever bearer tokens with unknown keys have come before.
        Raises :class:`NotGenuine`, or :class:`ProviderUnavailable` where no key is at hand.
        """
        key_id = self._key_id(text)
        if key_id:
            return _decode(text, self._current(key_id, urgent))
        keys = self._keys.get()
        try:
            return _decode(text, keys)
        except NotGenuine:
            newer = self._keys.newer(keys, urgent=urgent)
            if newer is None or newer is keys:
                raise
            return _decode(text, newer)

    def signed_by_held(self, text: str) -> bool:
        """Whether *text* was signed by a key that is at hand; nothing is waited for.

        That says who sent it and not that it is to be obeyed: the key may have been withdrawn.
        """
        keys = self._keys.held
        try:
            if keys is None or not _lists(keys, self._key_id(text)):
                return False
            _decode(text, keys)
        except NotGenuine:
            return False
        return True

    def at_hand(self, text: str) -> bool:
        """Whether *text* can be verified without asking the provider for a key."""
        keys = self._keys.held
        try:
            return keys is not None and _lists(keys, self._key_id(text))
        except NotGenuine:
            return False

    def _key_id(self, text: str) -> str:
        """The key that *text* names; ``""`` where it may name none and does not."""
        header = _header(text)
        key_id = header.get("kid")
        if self._unnamed and "kid" not in header:
            return ""
        if not isinstance(key_id, str) or not key_id:
            raise NotSigned("it names no key")
        return key_id

    def _current(self, key_id: str, urgent: bool) -> KeySet:
        keys = self._keys.get()
        if not _lists(keys, key_id):
            keys = self._keys.newer(keys, urgent=urgent) or keys
        if not _lists(keys, key_id):
            raise NotSigned(f"signed with a key that {self._peer.name} does not list")
        return keys

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._keys.forget_locks()

    def forget(self) -> None:
        """Fetch them again before the next use (a not-before was pushed: keys may be revoked)."""
        self._keys.doubt()


def _lists(keys: KeySet, key_id: str) -> bool:
    return not key_id or any(one.kid == key_id for one in keys.keys)


def _decode(text: str, keys: KeySet) -> tuple[dict[str, Any], dict[str, Any]]:
    from joserfc import jwt
    from joserfc.errors import JoseError

    # (Given all of them, joserfc takes a text that names none for signed by one of them.)
    each: list[Any] = [keys] if _header(text).get("kid") else list(keys.keys)
    problem = "there is no key"
    for one in each:
        try:
            found = jwt.decode(text, one, registry=_registry())
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            problem = type(error).__name__
            continue
        return dict(found.header), found.claims
    raise NotSigned(f"the signature does not hold ({problem})")


def _header(text: str) -> dict[str, Any]:
    """What *text* says of how it is signed."""
    from joserfc import jws
    from joserfc.errors import JoseError

    if not text or len(text) > TEXT_LIMIT or text.count(".") != 2 or not text.isascii():
        raise NotGenuine("not the form of a signed token")
    try:
        header = jws.extract_compact(text.encode(), registry=_registry()).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        # (RecursionError: brackets in brackets, for which such a header is long enough.)
        raise NotGenuine("not the form of a signed token") from error
    if header.get("alg") not in ALGORITHMS:
        raise NotSigned("signed by an algorithm that is not accepted")
    return dict(header)
