"""Signals: what happened, for whoever connects. The sender is the app.

======================  ==============================================================
signal                  sent with
======================  ==============================================================
``token_issued``        ``token``, ``instead_of``: the login that its browser had, or ``None``
``token_bound``         ``token``, ``instead_of``: a login is bound to a device from here on,
                        and has a new id
``token_renewed``       ``token``
``token_revoked``       ``seq``, ``notice``, ``named``: once, in the process that asked;
                        ``logins``: which of the ids it names stood for logins
``revocation_applied``  ``seq``, ``notice``, ``covers``: on each node, app context pushed;
                        ``covers(token)`` says whether a token is ended by it
``token_refused``       ``refusal``, with the detail that is not told outwardly
``token_reused``        ``token``, ``asked``, ``other``, ``ended``: a login has two holders; app
                        context pushed, no request: it is found out behind one
``node_stale``          ``reason``
``node_fresh``          ``applied``
``login_ending``        ``token``: its own user ends it; before the store is told
======================  ==============================================================

Receivers take ``**extra``. One that raises is logged and changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

from blinker import Namespace, Signal
from flask import Flask

from .. import events

logger = logging.getLogger("flask_clustertoken")

_signals = Namespace()

token_issued = _signals.signal("token-issued")
token_bound = _signals.signal("token-bound")
token_renewed = _signals.signal("token-renewed")
token_revoked = _signals.signal("token-revoked")
revocation_applied = _signals.signal("revocation-applied")
token_refused = _signals.signal("token-refused")
token_reused = _signals.signal("token-reused")
node_stale = _signals.signal("node-stale")
node_fresh = _signals.signal("node-fresh")
login_ending = _signals.signal("login-ending")

_OF = {
    events.TokenIssued: token_issued,
    events.TokenBound: token_bound,
    events.TokenRenewed: token_renewed,
    events.TokenRevoked: token_revoked,
    events.RevocationApplied: revocation_applied,
    events.TokenRefused: token_refused,
    events.TokenReused: token_reused,
    events.NodeStale: node_stale,
    events.NodeFresh: node_fresh,
    events.LoginEnding: login_ending,
}


def connect(app: Flask, announced: events.Events) -> None:
    """Send a signal of *app* for each event of its authority."""

    def send(event: Any) -> None:
        signal = _OF[type(event)]
        if not signal.receivers:
            return
        said = {one.name: getattr(event, one.name) for one in fields(event)}
        if isinstance(event, events.RevocationApplied | events.TokenReused):
            # They come from the follower's thread, where no request pushed a context.
            with app.app_context():
                _tell(signal, app, said)
        else:
            _tell(signal, app, said)

    for event_type in _OF:
        announced.listen(event_type, send)


def _tell(signal: Signal, app: Flask, said: dict[str, Any]) -> None:
    # Not signal.send(): there the first receiver that raises keeps all others from knowing.
    if signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **said)
        except Exception:
            logger.exception("a receiver of %s failed", signal.name)  # type: ignore[attr-defined]
