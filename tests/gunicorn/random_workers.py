"""Revoked on a random worker, asked on all: on a store of several hosts, with two of them."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.gunicorn.server import GunicornServer

#: Workers that keep a line, so that each can be asked by itself.
KEEPING = ("--worker-class", "gthread", "--threads", "4", "--keep-alive", "600")


@dataclass(frozen=True)
class Counted:
    """What so many rounds showed."""

    revocations: int
    #: Answers of a worker that had refused the login before, or of the one that had ended it.
    accepted: int
    #: Seconds from the log-out's answer until every worker had refused.
    waited: list[float]

    def told(self) -> dict[str, object]:
        """For the table of the full run."""
        waited = sorted(self.waited)
        return {
            "revocations": self.revocations,
            "accepted_after_a_refusal": self.accepted,
            "all_refused_within": f"{waited[len(waited) * 99 // 100] * 1000:,.0f} ms (p99), "
            f"{waited[-1] * 1000:,.0f} ms (longest)",
        }


def revoked_and_asked(hosts: tuple[GunicornServer, ...], count: int) -> Counted:
    """Every worker of *hosts* accepts a login, one of them ends it, and then none accepts it.

    Once a worker has refused it, it refuses it for good. (Each is asked over a line of its own:
    which worker takes a new one is for the kernel to say, and it has favourites.)
    """
    lines = [(host, line) for host in hosts for line in host.line_to_each().values()]
    everybody = len(lines)
    accepted, waited = 0, []

    def asked(cookie: str) -> list[int]:
        return [host.me(cookie, line=line).status for host, line in lines]

    try:
        for _ in range(count):
            host, line = random.choice(lines)
            cookie = host.login(line=line)
            assert asked(cookie) == [200] * everybody
            host, line = random.choice(lines)
            assert host.ask("POST", "/logout", cookie=cookie, line=line).status == 200
            began = time.monotonic()
            refused = [one == (host, line) for one in lines]
            told: list[int] = []
            while told != [401] * everybody:
                told = asked(cookie)
                assert time.monotonic() - began < 60, told
                assert set(told) <= {200, 401}, told
                accepted += sum(
                    before and one == 200 for before, one in zip(refused, told, strict=True)
                )
                refused = [before or one == 401 for before, one in zip(refused, told, strict=True)]
            waited.append(time.monotonic() - began)
    finally:
        for _, line in lines:
            line.close()
    return Counted(count, accepted, waited)
