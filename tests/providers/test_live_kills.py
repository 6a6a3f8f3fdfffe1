"""Real processes that poll, killed by the system; and one that is a fork's child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import SharedSignals
from tests.providers import polling_process
from tests.providers.app import Login, bare_app
from tests.providers.transmitter import TransmitterDouble
from tests.rounds import rounds
from tests.waiting import wait_until

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent.parent


def start(store: str, transmitter: TransmitterDouble) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, polling_process.__file__, store, transmitter.issuer, transmitter.access],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_again_and_again(tmp_path: Path, transmitter: TransmitterDouble) -> None:
    """Each event is acted on once, whichever process was killed at it."""
    store = f"directory://{tmp_path}/shared"
    app = bare_app(store)
    signals = SharedSignals(transmitter=transmitter.issuer, credentials=transmitter.access)
    ids: list[str] = []
    try:
        for number in range(rounds(3, 20)):
            login = Login(app, signals, {"sub": "alice", "sid": f"sid-{number}"})
            process = start(store, transmitter)
            try:
                polls = transmitter.polls
                wait_until(lambda polls=polls: transmitter.polls > polls, 60)
                ids.append(transmitter.put(transmitter.revoked(f"sid-{number}")))
                if number % 2 == 0:
                    wait_until(lambda login=login: not login.stands(), 60)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(30)
                assert process.stdout is not None
                process.stdout.close()
        process = start(store, transmitter)
        try:
            wait_until(lambda: set(ids) <= set(transmitter.acknowledged), 60)
        finally:
            process.kill()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()
        bodies = [one.body for one in state_of(app).authority.store.read(0).entries]
        assert len([one for one in bodies if b'"kind":"labels"' in one]) == len(ids)
    finally:
        state_of(app).authority.close()
