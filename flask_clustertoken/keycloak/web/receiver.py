"""Receiver: what Keycloak tells us becomes revocations, each message once in the cluster.

A message's id is recorded in the same transaction as its revocations. Recorded earlier, a
failure in between would turn the repetition into a replay and lose the logout.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...authority import TokenAuthority
from ...errors import Conflict
from ...oidc import LogoutToken, NotGenuine, Once
from ...stores.base import Change, Delete, Record
from ...tokens import validation
from ..nodes import NotBefore
from ..options import KeycloakOptions
from ..protocol import claims
from ..protocol.claims import AdminMessage
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
        once = self._once(message.id, text, message.expires_at)
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
            once.check_replay(self._authority.store)

    def _end_sessions(self, message: AdminMessage, once: Once, issuer: str) -> None:
        client = self._options.client_id
        theirs = [labels.sid_label(issuer, one) for one in message.sessions or ()]
        ours = [labels.session_label(issuer, client, one) for one in message.adapter_sessions or ()]
        self._end([*theirs, *ours], once)

    def _end(self, ended: Sequence[str], once: Once) -> None:
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
        once = self._once(token.id, text, token.expires_at)
        try:
            if token.sid is not None:
                self._end([labels.sid_label(issuer, token.sid)], once)
            elif token.subject is not None:
                # By a mark: the same user may log in again.
                self._authority.revoke_subject(
                    token.subject, changes=[once.record], entry_id=once.entry_id()
                )
        except Conflict:
            once.check_replay(self._authority.store)

    def _once(self, message_id: str, text: str, expires_at: float) -> Once:
        return Once(self._keys.message(message_id), text, expires_at, source="kc")
