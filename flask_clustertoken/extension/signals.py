"""Signals: what happened, for whoever connects. The sender is the app.

=======================  ==============================================================
signal                   sent with
=======================  ==============================================================
``token_issued``         ``token``, ``instead_of``: the login that its browser had, or ``None``
``login_on_new_device``  ``token``: a person logged in on a device that none of their other living
                         logins is on; not where logins are not recorded
``token_bound``          ``token``, ``instead_of``: a login is bound to a device from here on,
                         and has a new id
``token_renewed``        ``token``
``token_revoked``        ``seq``, ``notice``, ``named``: once, in the process that asked;
                         ``logins``: which of the ids it names stood for logins
``revocation_applied``   ``seq``, ``notice``, ``covers``: on each node, app context pushed;
                         ``covers(token)`` says whether a token is ended by it
``token_refused``        ``refusal``, with the detail that is not told outwardly
``token_reused``         ``token``, ``asked``, ``other``, ``ended``: a login has two holders; app
                         context pushed, no request: it is found out behind one
``node_stale``           ``reason``
``node_fresh``           ``applied``
``login_ending``         ``token``: its own user ends it; before the store is told
=======================  ==============================================================

Receivers take ``**extra``. One that raises is logged and changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

from blinker import Namespace, Signal
from flask import Flask

from .. import events
from ..authority import TokenAuthority
from ..errors import StoreError
from ..tokens import Token

logger = logging.getLogger("flask_clustertoken")

_signals = Namespace()

token_issued = _signals.signal("token-issued")
login_on_new_device = _signals.signal("login-on-new-device")
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


def connect(app: Flask, authority: TokenAuthority) -> None:
    """Send a signal of *app* for each event of its authority."""
    announced = authority.events

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

    def look_at_device(event: events.TokenIssued) -> None:
        # (Only where somebody wants to know: it reads the store.)
        token = event.token
        if token.kind != "login" or not login_on_new_device.has_receivers_for(app):
            return
        if _is_on_new_device(authority, token, event.instead_of):
            _tell(login_on_new_device, app, {"token": token})

    for event_type in _OF:
        announced.listen(event_type, send)
    announced.listen(events.TokenIssued, look_at_device)


def _is_on_new_device(authority: TokenAuthority, token: Token, instead_of: Token | None) -> bool:
    now = token.subject, token.device
    if instead_of is not None and (instead_of.subject, instead_of.device) == now:
        return False
    try:
        return authority.listing.has_one_on(token) is False
    except StoreError:
        # (The login stands; whether it is on a new device nobody knows.)
        logger.warning("it is not known whether a login is on a new device", exc_info=True)
        return False


def _tell(signal: Signal, app: Flask, said: dict[str, Any]) -> None:
    # Not signal.send(): there the first receiver that raises keeps all others from knowing.
    if signal.is_muted:
        return
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **said)
        except Exception:
            logger.exception("a receiver of %s failed", signal.name)  # type: ignore[attr-defined]
