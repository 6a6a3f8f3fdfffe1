"""Receiving: a token arrives, by push or by poll; it is judged, and what it asks for is done."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ..clock import Clock
from ..oidc import NotGenuine, NotSigned
from .acting import Acting
from .events import STREAM_UPDATED, VERIFICATION
from .records import StreamRecords
from .sets import BadSet, SecurityEventToken, read_set
from .transmitter import Transmitter

logger = logging.getLogger(__name__)


class Receiving:
    """Receives the tokens of one stream. *audience* empty: what the stream itself says."""

    def __init__(
        self,
        transmitter: Transmitter,
        records: StreamRecords,
        acting: Acting,
        clock: Clock,
        *,
        audience: Collection[str],
        remember: float,
    ) -> None:
        self._transmitter = transmitter
        self._records = records
        self._acting = acting
        self._clock = clock
        self._audience = frozenset(audience)
        self._remember = remember

    def receive(self, text: str) -> SecurityEventToken:
        """Return once what *text* asks for is done: then it may be acknowledged.

        Raises :class:`BadSet` where it is refused, and a
        :class:`~flask_clustertoken.errors.StoreError` or
        :class:`~flask_clustertoken.oidc.ProviderUnavailable` where that cannot be said yet.
        """
        try:
            header, claims = self._transmitter.keys.verify(text, urgent=True)
            token = self._read(header, claims)
            of_stream = token.events.keys() & (VERIFICATION | STREAM_UPDATED)
            for kind in of_stream:
                self._of_stream(kind, token.events[kind])
            others = {kind: said for kind, said in token.events.items() if kind not in of_stream}
            if others:
                self._acting.act(replace(token, events=others))
        except BadSet:
            raise
        except NotSigned as error:
            raise BadSet("invalid_key", str(error)) from error
        except NotGenuine as error:
            raise BadSet("invalid_request", str(error)) from error
        self._records.heard()
        return token

    def _read(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> SecurityEventToken:
        def read(audience: Collection[str]) -> SecurityEventToken:
            return read_set(
                header,
                claims,
                issuer=self._transmitter.issuer,
                audience=audience,
                now=self._clock.time(),
                remember=self._remember,
            )

        if self._audience:
            return read(self._audience)
        known = self._records.stream()
        try:
            return read(known.audience if known is not None else ())
        except BadSet as error:
            if error.code != "invalid_audience":
                raise
        # What is refused does not come again, and the stream may just have been made (anew).
        known = self._records.stream(newly=True)
        if known is None or not known.audience:
            raise self._transmitter.peer.trouble(
                "for whom the events of its stream are is not known; if that lasts, set audience"
            )
        return read(known.audience)

    def _of_stream(self, kind: str, payload: Mapping[str, Any]) -> None:
        """An event about the stream itself, which is nobody's else."""
        if kind in STREAM_UPDATED:
            status = str(payload.get("status"))[:40]
            logger.warning("%s says that its stream is %r now", self._transmitter.issuer, status)
            return
        state = payload.get("state")
        if state is None or self._asked_for(state, newly=False):
            return
        if not self._asked_for(state, newly=True):
            raise BadSet("invalid_state", "a verification that nobody here has asked for")

    def _asked_for(self, state: Any, *, newly: bool) -> bool:
        """Whether a verification says what we let it say; that cannot be judged of no stream."""
        record = self._records.stream(newly=newly)
        if record is None:
            return True
        return isinstance(state, str) and state.startswith(f"{record.nonce}.")
