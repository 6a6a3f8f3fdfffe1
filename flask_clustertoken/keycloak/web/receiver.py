"""Receiver: what Keycloak tells us becomes revocations, each message once in the cluster.

A message's id is recorded in the same transaction as its revocations. Recorded earlier, a
failure in between would turn the repetition into a replay and lose the logout.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from ...authority import TokenAuthority
from ...errors import Conflict
from ...stores.base import Add, Change, Delete, Record
from ...tokens import validation
from ..errors import NotGenuine
from ..nodes import NotBefore
from ..options import KeycloakOptions
from ..protocol import claims
from ..protocol.claims import AdminMessage, LogoutToken
from ..sessions import Keys, labels

#: Sessions that one transaction ends: a store's transaction has a limit.
SESSIONS_AT_ONCE = 100


class Receiver:
    """Obeys verified messages. Each method raises a
    :class:`~flask_clustertoken.errors.StoreError` where the store did not acknowledge it."""

    def __init__(
        self, authority: TokenAuthority, options: KeycloakOptions, keys: Keys, not_before: NotBefore
    ) -> None:
        self._authority = authority
        self._options = options
        self._keys = keys
        self._not_before = not_before

    def obey(self, message: AdminMessage, text: str, issuer: str) -> None:
        """Do what an admin message asks for; a replay of the same *text* does nothing."""
        once = _Once(self._keys, message.id, text, message.expires_at)
        try:
            if message.action == claims.PUSH_NOT_BEFORE:
                self._not_before.push(float(message.not_before), [once.record], once.entry_id())
            elif message.action == claims.TEST_AVAILABILITY:
                self._authority.store.append([], [once.record])
            elif message.for_all:
                self._not_before.log_out_all(
                    float(message.not_before), [once.record], once.entry_id()
                )
            else:
                self._end_sessions(message, once, issuer)
        except Conflict:
            self._replayed(once)

    def _end_sessions(self, message: AdminMessage, once: _Once, issuer: str) -> None:
        client = self._options.client_id
        theirs = [labels.sid_label(issuer, one) for one in message.sessions or ()]
        ours = [labels.session_label(issuer, client, one) for one in message.adapter_sessions or ()]
        self._end([*theirs, *ours], once)

    def _end(self, ended: Sequence[str], once: _Once) -> None:
        """In parts, the message's id with the last one."""
        try:
            validation.labels(ended)
        except ValueError as error:
            raise NotGenuine(f"it names what can be no session's id ({error})") from error
        parts = [ended[at : at + SESSIONS_AT_ONCE] for at in range(0, len(ended), SESSIONS_AT_ONCE)]
        if not parts:
            self._authority.store.append([], [once.record])
        for number, part in enumerate(parts):
            changes: list[Change] = [once.record] if number == len(parts) - 1 else []
            for label in part:
                # Tokens, and the turn of a refresh in flight. What comes after this look is taken
                # back by whoever writes it, who looks for revocations once more.
                changes += [Delete(key) for key, _ in self._kept(label)]
            self._authority.revoke_labels(part, changes=changes, entry_id=once.entry_id(number))

    def _kept(self, label: str) -> list[tuple[str, Record]]:
        """What the store has for the logins of the session *label*."""
        return self._authority.store.scan(self._keys.session(label), limit=SESSIONS_AT_ONCE)

    def obey_logout_token(self, token: LogoutToken, text: str, issuer: str) -> None:
        """End one session, or each of a user's; a replay of the same *text* does nothing."""
        once = _Once(self._keys, token.id, text, token.expires_at)
        try:
            if token.sid is not None:
                self._end([labels.sid_label(issuer, token.sid)], once)
            elif token.subject is not None:
                # By a mark: the same user may log in again.
                self._authority.revoke_subject(
                    token.subject, changes=[once.record], entry_id=once.entry_id()
                )
        except Conflict:
            self._replayed(once)

    def _replayed(self, once: _Once) -> None:
        record = self._authority.store.get(once.record.key)
        if record is not None and record.value != once.record.value:
            raise NotGenuine("its id was used by another message")


class _Once:
    """What records that a message was obeyed."""

    def __init__(self, keys: Keys, message_id: str, text: str, expires_at: float) -> None:
        self._digest = sha256(text.encode()).hexdigest()
        ends = expires_at + 2 * claims.LEEWAY + 60.0
        self.record = Add(keys.message(message_id), self._digest.encode(), ends)

    def entry_id(self, part: int = 0) -> str:
        """By the whole text: appending the same message again appends nothing."""
        return f"kc-{self._digest[:48]}-{part}"
