"""The thread that listens to a stream: it is there as soon as the system gives one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.providers.listening import Listening
from flask_clustertoken.settings import Settings
from tests.no_thread import no_thread
from tests.waiting import wait_until


class Part:
    """A process's part in a stream, of which only its steps are wanted."""

    silence = ""

    def __init__(self) -> None:
        self.stepped = threading.Event()
        self.left = False

    def step(self) -> float:
        self.stepped.set()
        return 60.0

    def leave(self) -> None:
        self.left = True


def test_a_stream_without_a_thread_is_heard_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then it counts as silent; it is tried again with each step of the follower."""
    given = {"STORE": f"directory://{tmp_path}/shared", "SECRET": "k" * 40}
    settings = {f"CLUSTERTOKEN_{name}": one for name, one in given.items()}
    authority, parts = TokenAuthority(Settings.from_mapping(settings)), list[Any]()
    listening = Listening(authority, lambda: parts.append(Part()) or parts[-1])  # type: ignore
    listening.attach()
    try:
        with no_thread("clustertoken-signals") as refused:
            authority.follower()
            assert refused
            assert not parts[0].stepped.is_set()
            assert "pids.max" in authority.readiness().silent[0]
        wait_until(lambda: parts[-1].stepped.is_set())
        wait_until(lambda: not authority.readiness().silent)
        assert listening.stream is parts[-1]
    finally:
        authority.close()
    assert parts[-1].left
    assert caplog.text.count("pids.max") == 1
