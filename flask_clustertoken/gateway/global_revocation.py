"""Global revocation: ``/global-token-revocation``, by which an identity provider ends a person.

draft-parecki-oauth-global-token-revocation, as Okta's Universal Logout calls it. The draft lets
204 say that the work has begun; here it says that every login and API token of the person is
refused on every node.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from ..authority import TokenAuthority
from ..cluster import Revocation
from ..errors import Conflict
from ..stores.base import Add, Change
from ..tokens import TokenKind
from .answers import Answer, challenge, problem, unavailable
from .bodies import json_of
from .callers import Callers, credential
from .confirming import confirmed
from .options import GatewayOptions
from .revocation import SCOPE
from .signed import Assertion, KeysUnavailable, NotGenuine, SignedCallers
from .subjects import SubjectOf, WrongSubject, checked, subjects_of

logger = logging.getLogger("flask_clustertoken.gateway")

_DONE = Answer(204)
_BOTH: tuple[TokenKind, ...] = ("login", "api")


class UsedTwice(Exception):
    """The id of a JWT came with another request."""


class GlobalRevocation:
    """Ends all tokens of a person; 204 once no node accepts one any more."""

    def __init__(
        self,
        authority: TokenAuthority,
        options: GatewayOptions,
        callers: Callers,
        mapping: SubjectOf,
        signed: SignedCallers | None,
    ) -> None:
        self._authority = authority
        self._timeout = options.confirm_timeout
        self._callers = callers
        self._mapping = mapping
        self._signed = signed

    def __call__(self, environ: dict[str, Any]) -> Answer:
        assertion = self._caller(environ)
        if isinstance(assertion, Answer):
            return assertion
        body = json_of(environ)
        if isinstance(body, Answer):
            return body
        try:
            sub_id = checked(body.get("sub_id"))
            if assertion is not None and sub_id.get("iss", assertion.issuer) != assertion.issuer:
                said = "An issuer ends its own subjects, not another one's."
                return problem(403, "insufficient_scope", said)
            subjects = subjects_of(sub_id, self._mapping)
        except WrongSubject as error:
            return problem(400, "invalid_request", str(error))
        except Exception:
            logger.exception("the mapping of subject identifiers failed")
            return problem(500, "server_error", "Whom sub_id means could not be found out.")
        if not subjects:
            return problem(404, "not_found", "Nobody is known by this sub_id.")
        once = None if assertion is None else _Once(assertion, sub_id)
        try:
            return confirmed(lambda: self._end(subjects, once), self._timeout, _DONE)
        except UsedTwice:
            return _not_genuine("the id of this JWT came with another request (jti)")

    def _caller(self, environ: dict[str, Any]) -> Assertion | Answer | None:
        """What a signed JWT proved, ``None`` for a good API token, or why it is neither."""
        text = credential(environ)
        if self._signed is None or text is None or self._authority.wire.looks_like_api(text):
            judged = self._callers.judge(environ, SCOPE)
            return judged if isinstance(judged, Answer) else None
        try:
            return self._signed.verify(text)
        except NotGenuine as error:
            return _not_genuine(str(error))
        except KeysUnavailable as error:
            logger.warning("answered 503, the issuer's keys are not at hand: %s", error)
            return unavailable("The keys of the issuer cannot be read at the moment.")

    def _end(self, subjects: Sequence[str], once: _Once | None) -> Revocation:
        """The last of the revocations: whoever has applied it has applied those before."""
        for number, subject in enumerate(subjects):
            # With the last: a step that failed before it is tried again in full.
            last = number == len(subjects) - 1
            changes: list[Change] = [once.record] if once is not None and last else []
            entry_id = None if once is None else once.entry_id(number)
            try:
                revocation = self._authority.revoke_subject(
                    subject, _BOTH, changes=changes, entry_id=entry_id
                )
            except Conflict:
                # Sent again, since no answer had come: what was done then is confirmed now.
                assert once is not None
                known = self._authority.store.get(once.record.key)
                if known is None or known.value != once.record.value:
                    raise UsedTwice from None
                revocation = self._authority.revoke_subject(subject, _BOTH, entry_id=entry_id)
        return revocation


class _Once:
    """What records that a JWT was obeyed, in the very step of its revocation."""

    def __init__(self, assertion: Assertion, sub_id: dict[str, str]) -> None:
        name = sha256(json.dumps([assertion.issuer, assertion.id]).encode()).hexdigest()
        said = json.dumps([name, sorted(sub_id.items())])
        self._digest = sha256(said.encode()).hexdigest()
        key = f"gateway/jti/{name[:40]}"
        self.record = Add(key, self._digest.encode(), assertion.ends_at)

    def entry_id(self, part: int) -> str:
        """By what was asked: appending it again appends nothing."""
        return f"gtr-{self._digest[:40]}-{part}"


def _not_genuine(why: str) -> Answer:
    logger.warning("a signed JWT was refused: %s", why)
    return problem(
        401, "invalid_client", f"The JWT is not good: {why}.", challenge(error="invalid_token")
    )
