"""Metrics of several workers: each answers for all, and none that leaves takes counts with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.gunicorn.server import GunicornServer
from tests.metrics.parts import Told, key, told
from tests.waiting import wait_until

pytestmark = pytest.mark.gunicorn

ACCEPTED = key("authentications_total", {"kind": "login", "result": "accepted"})
ISSUED = key("tokens_issued_total", {"kind": "login"})


def scraped(server: GunicornServer) -> Told:
    answer = server.ask("GET", "/metrics")
    assert answer.status == 200, server.said()
    return told(answer.body.decode(), "default")


def test_every_worker_answers_for_all_also_for_those_that_are_gone(tmp_path: Path) -> None:
    """Workers are recycled and killed; whoever is asked, no counter ever falls back."""
    recycled = ("--max-requests", "15", "--max-requests-jitter", "5")
    with GunicornServer(tmp_path, *recycled, workers=3) as server:
        before: Told = {}
        asked, met = 0, set[int]()
        cookie = server.login()
        for number in range(60):
            answer = server.me(cookie)
            asked += answer.status == 200
            met.add(answer.pid)
            if number % 20 == 10:
                # (What a killed worker has not written down yet is of the last second or so.)
                os.kill(server.pids()[0], signal.SIGKILL)
            now = scraped(server)
            fell = {
                name: (value, now.get(name))
                for name, value in before.items()
                if name[0].endswith(("_total", "_count", "_bucket")) and now.get(name, 0) < value
            }
            assert not fell
            before = now
        assert len(met) > 3, "no worker was replaced"
        assert before[ISSUED] == 1
        assert 0 < before[ACCEPTED] <= asked
        files = list(tmp_path.rglob("counter_*.db"))
        assert len(files) <= len(server.pids()) + 2, files


def test_what_is_counted_by_all_workers_is_right_to_the_last_one(tmp_path: Path) -> None:
    """Where nobody is killed, nothing is lost."""
    with GunicornServer(tmp_path, workers=3) as server:
        cookie = server.login()
        answers = server.at_once(cookie, 90)
        assert len({one.pid for one in answers}) > 1
        wait_until(lambda: scraped(server)[ACCEPTED] == 90, 30)
        wait_until(lambda: scraped(server)[key("workers", {"state": "fresh"})] == 3, 30)
        assert scraped(server)[key("fresh", {})] == 1


def test_a_worker_that_is_frozen_is_told_as_stale_by_the_others(tmp_path: Path) -> None:
    """It writes nothing down; what it wrote last says until when it was good."""
    with GunicornServer(tmp_path, workers=2, settings={"MAX_STALENESS": 2}) as server:
        server.login()
        frozen = server.pids()[0]
        wait_until(lambda: scraped(server)[key("workers", {"state": "fresh"})] == 2, 30)
        os.kill(frozen, signal.SIGSTOP)
        try:
            wait_until(lambda: scraped(server)[key("fresh", {})] == 0, 30)
            assert scraped(server)[key("workers", {"state": "stale"})] == 1
            assert scraped(server)[key("staleness_seconds", {})] > 2
        finally:
            os.kill(frozen, signal.SIGCONT)
        wait_until(lambda: scraped(server)[key("fresh", {})] == 1, 30)
