"""Signals: what a transmitter told of, for whoever connects. The sender is the app.

===================  =================================================================
signal               sent with
===================  =================================================================
``security_event``   ``event``, a :class:`SecurityEvent`: once in the cluster, where the
                     event arrived; what it ends is ended by then
``stream_silent``    ``name``, ``transmitter``, ``seconds``: on each node, when a stream
                     was not heard for longer than it may be silent
``stream_heard``     ``name``, ``transmitter``: on each node, when it is heard again
===================  =================================================================

Receivers take ``**extra``. One that raises is logged and changes nothing. Where a process is
killed while its receivers are called, they are called once more, elsewhere.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import Namespace, Signal
from flask import Flask

logger = logging.getLogger(__name__)

_signals = Namespace()

security_event = _signals.signal("security-event")
stream_silent = _signals.signal("stream-silent")
stream_heard = _signals.signal("stream-heard")


def tell(signal: Signal, app: Flask, **said: Any) -> None:
    """Call every receiver, in the app's context, whatever one of them raises."""
    if not signal.receivers or signal.is_muted:
        return
    with app.app_context():
        for receiver in signal.receivers_for(app):
            try:
                receiver(app, **said)
            except Exception:
                logger.exception("a receiver of %s failed", signal)
