"""A process of a real node that polls: ``python polling_process.py STORE ISSUER ACCESS``."""

from __future__ import annotations

import signal
import sys

from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import SharedSignals, stream
from tests.providers.app import bare_app


def main(store: str, issuer: str, access: str) -> None:
    # (Whoever is killed holds up the others for no longer than the lease.)
    stream.LEASE, stream.LOOK_EVERY = 1.0, 0.25  # type: ignore[misc]
    app = bare_app(store)
    SharedSignals(app, transmitter=issuer, credentials=access, poll_every=1)
    state_of(app).authority.follower()
    print("ready", flush=True)
    while True:
        signal.pause()  # until it is killed


if __name__ == "__main__":
    main(*sys.argv[1:])
