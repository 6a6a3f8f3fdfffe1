"""Real processes that poll, killed by the system; and one that is a fork's child."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flask_clustertoken.extension import state_of
from flask_clustertoken.providers import SharedSignals
from tests.conftest import Tell
from tests.providers import polling_process
from tests.providers.app import Login, bare_app
from tests.providers.transmitter import TransmitterDouble
from tests.rounds import rounds
from tests.waiting import wait_past, wait_until

pytestmark = pytest.mark.processes

KILLS = rounds(4, 100)

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


@contextmanager
def polling(store: str, transmitter: TransmitterDouble) -> Iterator[None]:
    """A process polls; at the end it is killed, whatever it is at."""
    process = start(store, transmitter)
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def test_killed_again_and_again(tmp_path: Path, transmitter: TransmitterDouble, tell: Tell) -> None:
    """Each event is acted on once and none is lost, whichever process was killed at it, and
    whether the transmitter was there, out of order, or just being started again."""
    store = f"directory://{tmp_path}/shared"
    app = bare_app(store)
    authority = state_of(app).authority
    signals = SharedSignals(transmitter=transmitter.issuer, credentials=transmitter.access)
    chance = random.Random(20)
    logins: list[Login] = []
    ids: list[str] = []

    def happens() -> None:
        for _ in range(chance.randint(1, 3)):
            sid = f"sid-{len(logins)}"
            logins.append(Login(app, signals, {"sub": "alice", "sid": sid}))
            ids.append(transmitter.put(transmitter.revoked(sid)))

    try:
        for number in range(KILLS):
            with polling(store, transmitter), ExitStack() as trouble:
                polls = transmitter.polls
                wait_until(lambda polls=polls: transmitter.polls > polls)
                if number % 4 == 1:
                    trouble.enter_context(transmitter.out_of_order())
                if number % 4 == 2:
                    trouble.enter_context(transmitter.away())
                happens()
                if number % 4 == 3:
                    wait_until(lambda login=logins[-1]: not login.stands())
                else:
                    # (Polls are a second apart.)
                    wait_past(time.time() + chance.uniform(0.0, 1.2))
        with polling(store, transmitter):
            wait_until(lambda: set(ids) <= set(transmitter.acknowledged))
        ended = [one for one in authority.store.read(0).entries if b'"kind":"labels"' in one.body]
        assert len(ended) == len(ids)
        assert transmitter.refused == {}
        assert not any(login.stands() for login in logins)
        tell("nodes that poll, killed", kills=KILLS, events=len(ids), acted_on=len(ended), lost=0)
    finally:
        authority.close()
