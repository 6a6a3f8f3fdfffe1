"""Labels: by what a login of Keycloak's can be ended, and where the adapter keeps its records."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

#: What every label of ours begins with.
LABEL_PREFIX = "keycloak:"
_SESSION = ":session:"


def sid_label(issuer: str, sid: str) -> str:
    """The label of every login that belongs to Keycloak's session *sid*."""
    return f"{LABEL_PREFIX}{issuer}:{sid}"


def session_label(issuer: str, client_id: str, state: str) -> str:
    """The label of the one login that told Keycloak *state* as its ``client_session_state``."""
    return f"{LABEL_PREFIX}{issuer}:{client_id}{_SESSION}{state}"


def login_label(labels: Sequence[str]) -> str | None:
    """What stands for the login with these *labels* in our records: Keycloak's session, and the
    one login of it. (Several may belong to one session, each with tokens of its own.)"""
    ours = [one for one in labels if one.startswith(LABEL_PREFIX)]
    if not ours:
        return None
    session = next((one for one in ours if _SESSION not in one), ours[0])
    own = next((one for one in ours if _SESSION in one), ours[0])
    return f"{session}\n{own}"


def session_state(labels: Sequence[str]) -> str | None:
    """The ``client_session_state`` among *labels*."""
    ours = [one for one in labels if one.startswith(LABEL_PREFIX) and _SESSION in one]
    return ours[0].rpartition(_SESSION)[2] if ours else None


def digest(text: str) -> str:
    """Names *text* in a key: the store learns no session id."""
    return sha256(text.encode()).hexdigest()[:40]


class Keys:
    """The keys of the records of one client of one realm."""

    def __init__(self, realm: str, client_id: str) -> None:
        self._root = f"keycloak/{digest(f'{realm}|{client_id}')[:12]}"

    def session(self, label: str) -> str:
        """The prefix of what belongs to the logins of the session *label*, and to few others:
        a store may keep what begins alike in one place."""
        named = digest(label)
        return f"{self._root}-{named[:2]}/session/{named}/"

    def tokens(self, login: str) -> str:
        """The provider's tokens of a login (token store ``cookie``: a refresh's, for a while)."""
        session, _, own = login.partition("\n")
        return f"{self.session(session)}tokens/{digest(own)}"

    def refreshing(self, login: str) -> str:
        """Whoever holds this refreshes them."""
        session, _, own = login.partition("\n")
        return f"{self.session(session)}refreshing/{digest(own)}"

    def message(self, message_id: str) -> str:
        """A message of Keycloak's that was obeyed."""
        return f"{self._root}/message/{digest(message_id)}"

    @property
    def not_before(self) -> str:
        return f"{self._root}/not-before"

    def not_before_turn(self, number: int | str) -> str:
        """There while the not-before is its change *number*: two that change it cannot both."""
        return f"{self._root}/not-before-turn/{number}"

    @property
    def pushed(self) -> str:
        """A label that no token has: its revocation says that a not-before was pushed."""
        return f"{LABEL_PREFIX}pushed:{self._root}"

    def registered(self, host: str) -> str:
        """This host is registered as a node at Keycloak."""
        return f"{self._root}/host/{digest(host)}"

    @property
    def hosts(self) -> str:
        return f"{self._root}/host/"

    def workers(self, host: str) -> str:
        """The prefix under which a host's live workers stand."""
        return f"{self._root}/worker/{digest(host)}/"
