"""Subjects: whom an event is about (RFC 9493), and by what their logins are found here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..oidc import NotGenuine
from ..tokens import validation
from .events import ACCOUNT_OVER, SESSION_REVOKED, SecurityEvent
from .labels import sid_label, sub_label

#: What an app may name: its own subject, or several, of whom a subject identifier is about.
FindSubject = Callable[[Mapping[str, Any]], str | Iterable[str] | None]

#: Who or what a complex subject may be made of (OpenID SSF 1.0, 3.2).
MEMBERS = ("user", "session", "device", "application", "tenant", "org_unit", "group")

#: Identifiers in one subject.
MOST = 32

#: What Keycloak calls the session where it means each of a person's: somebody was logged out.
EVERY_SESSION = "ALL"

#: Of RISC's drafts and of SSE: how formats were spelled, and their members.
_OLD_FORMATS = {"phone": "phone_number", "iss-sub": "iss_sub", "jwt-id": "jwt_id"}


def subject_in(claims: Mapping[str, Any], payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whom an event is about: ``sub_id`` of the token, or ``subject`` of the event, as before.

    Raises :class:`NotGenuine` where it is no subject identifier.
    """
    found = claims.get("sub_id", payload.get("subject", payload.get("sub_id")))
    if found is None:
        return {}
    return _of_today(found, depth=0)


def _of_today(found: Any, depth: int) -> Mapping[str, Any]:
    if not isinstance(found, Mapping) or depth > 2 or len(found) > MOST:
        raise NotGenuine("its subject is no subject identifier")
    said = dict(found)
    kind = said.pop("format", said.pop("subject_type", None))
    if kind is None and any(name in said for name in MEMBERS):
        kind = "complex"
    if not isinstance(kind, str):
        raise NotGenuine("its subject has no format")
    kind = _OLD_FORMATS.get(kind, kind.replace("-", "_"))
    if kind == "complex":
        for name in MEMBERS:
            if name in said:
                said[name] = _of_today(said[name], depth + 1)
    if kind == "aliases":
        listed = said.get("identifiers")
        if not isinstance(listed, list) or len(listed) > MOST:
            raise NotGenuine("its subject lists no identifiers")
        said["identifiers"] = [_of_today(one, depth + 1) for one in listed]
    return {"format": kind, **said}


@dataclass(frozen=True, slots=True)
class Targets:
    """What ends: labels of sessions whenever issued, labels of people and the app's own subjects
    for what was issued before now. *all_kinds*: API tokens too."""

    sessions: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    all_kinds: bool = False

    def __bool__(self) -> bool:
        return bool(self.sessions or self.people or self.subjects)

    def __or__(self, other: Targets) -> Targets:
        return Targets(
            self.sessions | other.sessions,
            self.people | other.people,
            self.subjects | other.subjects,
            self.all_kinds or other.all_kinds,
        )


class Finder:
    """Finds what an event of *transmitter* ends.

    It is believed about subjects of its own, and of the issuers in *about*, whose logins it speaks
    of; *find_subject* is the app's, for e-mail addresses and whatever else is known to it alone.
    """

    def __init__(
        self, transmitter: str, about: Collection[str], find_subject: FindSubject | None
    ) -> None:
        # (Google calls itself with a slash at the end in one place and without in the other.)
        self._issuers = {one.rstrip("/"): one for one in (transmitter, *about)}
        self._find_subject = find_subject

    def targets(self, event: SecurityEvent) -> Targets:
        """Nothing where nobody here can be meant. Raises what *find_subject* does."""
        subject = event.subject
        if event.type == SESSION_REVOKED:
            complex_one = subject.get("format") == "complex"
            session = subject.get("session") if complex_one else subject
            everyone = complex_one and session == {"format": "opaque", "id": EVERY_SESSION}
            if not everyone and isinstance(session, Mapping) and (found := self._session(session)):
                return Targets(sessions=found)
        people, subjects = set[str](), set[str]()
        for one in self._people(subject):
            people |= self._person(one)
            subjects |= self._subjects(one)
        over = event.type in ACCOUNT_OVER
        return Targets(frozenset(), frozenset(people), frozenset(subjects), over)

    def _people(self, subject: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Who is meant. More than the person (a device, a tenant) is known to nobody here: then
        it is all of that person's, rather than nothing."""
        kind = subject.get("format")
        if kind == "complex":
            user = subject.get("user")
            return self._people(user) if isinstance(user, Mapping) else []
        if kind == "aliases":
            listed = subject.get("identifiers")
            return [one for one in listed if isinstance(one, Mapping)] if listed else []
        return [subject] if subject else []

    def _session(self, session: Mapping[str, Any]) -> frozenset[str]:
        """A session is named by what the ID token calls ``sid``."""
        if session.get("format") == "opaque" and _is_text(session.get("id")):
            return frozenset(sid_label(one, session["id"]) for one in self._issuers.values())
        return frozenset()

    def _person(self, one: Mapping[str, Any]) -> set[str]:
        if one.get("format") == "iss_sub" and _is_text(one.get("iss")) and _is_text(one.get("sub")):
            issuer = self._issuers.get(one["iss"].rstrip("/"))
            return {sub_label(issuer, one["sub"])} if issuer else set()
        if one.get("format") == "opaque" and _is_text(one.get("id")):
            return {sub_label(issuer, one["id"]) for issuer in self._issuers.values()}
        return set()

    def _subjects(self, one: Mapping[str, Any]) -> set[str]:
        if self._find_subject is None:
            return set()
        found = self._find_subject(one)
        named = [found] if isinstance(found, str) else list(found or ())
        return {validation.subject(name) for name in named}


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= 1024:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
