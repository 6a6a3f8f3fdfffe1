"""Signatures: a provider's keys, and whether a text was signed with one of them.

joserfc does the cryptography. Only asymmetric algorithms are accepted: ``none`` and ``HS256``
would let anyone sign who knows the public key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from .errors import NotGenuine, Peer
from .remembered import Remembered

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
)  # fmt: skip

#: Bytes of a compact JWS beyond which nothing is decoded.
TEXT_LIMIT = 64 * 1024


def _key_set(peer: Peer, data: Any) -> KeySet:
    """The signing keys in *data*, without what this version does not know."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    keys: list[Any] = []
    listed = data.get("keys") if isinstance(data, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("use", "sig") != "sig":
            continue
        if one.get("kty") not in ("RSA", "EC", "OKP") or not isinstance(one.get("kid"), str):
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

        # An access token with many roles has more than the 8,000 bytes of joserfc's default.
        max_header_length = max_signature_length = 4096
        max_payload_length = TEXT_LIMIT

        def get_alg(self, name: str) -> Any:
            if name not in ALGORITHMS or name not in self.algorithms:
                raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
            return self.algorithms[name]

    from joserfc.errors import UnsupportedAlgorithmError

    return Registry()


class SigningKeys:
    """The keys of *peer*, fetched when needed.

    An unknown key id fetches them again, at most once in *pause* seconds; after *lifetime*
    seconds they are fetched again in any case, behind the requests, which go on with the old.
    """

    def __init__(
        self,
        peer: Peer,
        fetch: Callable[[], Any],
        *,
        clock: Clock,
        pause: float = 10.0,
        lifetime: float = 86_400.0,
    ) -> None:
        self._peer = peer
        self._keys = Remembered(
            peer,
            "its list of keys",
            lambda: _key_set(peer, fetch()),
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
        return _decode(text, self._current(_key_id(text), urgent))

    def signed_by_held(self, text: str) -> bool:
        """Whether *text* was signed by a key that is at hand; nothing is waited for.

        That says who sent it and not that it is to be obeyed: the key may have been withdrawn.
        """
        keys = self._keys.held
        try:
            if keys is None or not _lists(keys, _key_id(text)):
                return False
            _decode(text, keys)
        except NotGenuine:
            return False
        return True

    def at_hand(self, text: str) -> bool:
        """Whether *text* can be verified without asking the provider for a key."""
        keys = self._keys.held
        try:
            return keys is not None and _lists(keys, _key_id(text))
        except NotGenuine:
            return False

    def _current(self, key_id: str, urgent: bool) -> KeySet:
        keys = self._keys.get()
        if not _lists(keys, key_id):
            keys = self._keys.newer(keys, urgent=urgent) or keys
        if not _lists(keys, key_id):
            raise NotGenuine(f"signed with a key that {self._peer.name} does not list")
        return keys

    def forget_locks(self) -> None:
        """In a fork's child: a thread of the parent may have held the lock."""
        self._keys.forget_locks()

    def forget(self) -> None:
        """Fetch them again before the next use (a not-before was pushed: keys may be revoked)."""
        self._keys.doubt()


def _lists(keys: KeySet, key_id: str) -> bool:
    return any(one.kid == key_id for one in keys.keys)


def _decode(text: str, keys: KeySet) -> tuple[dict[str, Any], dict[str, Any]]:
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        found = jwt.decode(text, keys, registry=_registry())
    except (JoseError, ValueError, TypeError) as error:
        raise NotGenuine(f"the signature does not hold ({type(error).__name__})") from None
    return dict(found.header), found.claims


def _key_id(text: str) -> str:
    """The key that *text* names."""
    from joserfc import jws
    from joserfc.errors import JoseError

    if not text or len(text) > TEXT_LIMIT or text.count(".") != 2 or not text.isascii():
        raise NotGenuine("not the form of a signed token")
    try:
        header = jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError, TypeError) as error:
        raise NotGenuine("not the form of a signed token") from error
    if header.get("alg") not in ALGORITHMS:
        raise NotGenuine("signed by an algorithm that is not accepted")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise NotGenuine("it names no key")
    return key_id
