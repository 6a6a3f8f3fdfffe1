"""Global revocation: ``/global-token-revocation``, by which an identity provider ends a person.

draft-parecki-oauth-global-token-revocation, as Okta's Universal Logout calls it. The draft lets
204 say that the work has begun; here it says that every login and API token of the person is
refused on every node.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from ..authority import TokenAuthority
from ..cluster import Revocation
from ..errors import Conflict
from ..oidc import NotGenuine, Once, ProviderUnavailable
from ..stores.base import Change
from ..tokens import TokenKind
from .bodies import json_of
from .callers import ApiCallers, credential
from .confirming import confirmed
from .options import GatewayOptions
from .replies import Reply, challenge, problem, unavailable
from .revocation import SCOPE
from .signed import Assertion, SignedCallers
from .subjects import SubjectOf, WrongSubject, checked, subjects_of

logger = logging.getLogger("flask_clustertoken.gateway")

_DONE = Reply(204)
_BOTH: tuple[TokenKind, ...] = ("login", "api")


class GlobalRevocation:
    """Ends all tokens of a person; 204 once no node accepts one any more."""

    def __init__(
        self,
        authority: TokenAuthority,
        options: GatewayOptions,
        callers: ApiCallers,
        mapping: SubjectOf,
        signed: SignedCallers | None,
    ) -> None:
        self._authority = authority
        self._timeout = options.confirm_timeout
        self._callers = callers
        self._mapping = mapping
        self._signed = signed

    def __call__(self, environ: dict[str, Any]) -> Reply:
        assertion = self._caller(environ)
        if isinstance(assertion, Reply):
            return assertion
        body = json_of(environ)
        if isinstance(body, Reply):
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
        once = None if assertion is None else _once(assertion, sub_id)
        try:
            return confirmed(lambda: self._end(subjects, once), self._timeout, _DONE)
        except NotGenuine as error:
            return _not_genuine(str(error))

    def _caller(self, environ: dict[str, Any]) -> Assertion | Reply | None:
        """What a signed JWT proved, ``None`` for a good API token, or why it is neither."""
        text = credential(environ)
        if self._signed is None or text is None or self._authority.wire.looks_like_api(text):
            judged = self._callers.judge(environ, SCOPE)
            return judged if isinstance(judged, Reply) else None
        try:
            return self._signed.verify(text)
        except NotGenuine as error:
            return _not_genuine(str(error))
        except ProviderUnavailable as error:
            logger.warning("answered 503, the issuer's keys are not at hand: %s", error)
            return unavailable("The keys of the issuer cannot be read at the moment.")

    def _end(self, subjects: Sequence[str], once: Once | None) -> Revocation:
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
                once.check_replay(self._authority.store)
                revocation = self._authority.revoke_subject(subject, _BOTH, entry_id=entry_id)
        return revocation


def _once(assertion: Assertion, sub_id: Mapping[str, str]) -> Once:
    """What records that a JWT was obeyed, for the person that came with it: the body is not signed,
    so that whoever has seen a JWT could end others with it."""
    name = sha256(json.dumps([assertion.issuer, assertion.id]).encode()).hexdigest()
    said = json.dumps([assertion.text, sorted(sub_id.items())])
    return Once(f"gateway/jti/{name[:40]}", said, assertion.ends_at, source="gtr")


def _not_genuine(why: str) -> Reply:
    logger.warning("a signed JWT was refused: %s", why)
    return problem(
        401, "invalid_client", f"The JWT is not good: {why}.", challenge(error="invalid_token")
    )
