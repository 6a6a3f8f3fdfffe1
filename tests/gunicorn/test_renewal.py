"""Logout wins over a renewal that is under way, and nobody else is thrown out by one."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Tell
from tests.rounds import rounds
from tests.waiting import next_second

from .conftest import Serve
from .server import Answer, GunicornServer

pytestmark = pytest.mark.gunicorn

PARALLEL = 64
WAYS = {
    "sync": (),
    "gthread": ("--worker-class", "gthread", "--threads", "16"),
}


def stampede(server: GunicornServer, cookie: str) -> tuple[list[Answer], Answer]:
    """So many at a time with one token, each of them twice, and in the middle of it a logout."""
    start = threading.Barrier(PARALLEL + 1)
    answered = threading.Semaphore(0)

    def look() -> list[Answer]:
        start.wait(30)
        first = server.me(cookie)
        answered.release()
        return [first, server.me(cookie)]

    def leave() -> Answer:
        start.wait(30)
        for _ in range(random.randrange(PARALLEL)):
            assert answered.acquire(timeout=30)
        return server.ask("POST", "/logout", cookie=cookie)

    with ThreadPoolExecutor(PARALLEL + 1) as crowd:
        looking = [crowd.submit(look) for _ in range(PARALLEL)]
        leaving = crowd.submit(leave)
        return [one for each in looking for one in each.result()], leaving.result()


@pytest.mark.parametrize("token_store", ["session", "cookie"])
@pytest.mark.parametrize("way", WAYS)
def test_no_renewed_copy_survives_a_logout(
    serve: Serve, way: str, token_store: str, tell: Tell
) -> None:
    """Of many requests in flight while their token is revoked, none leaves a cookie that works."""
    settings = {"ALWAYS_RENEW": "yes", "TOKEN_STORE": token_store}
    server = serve(*WAYS[way], settings=settings)
    copies, before, after = 0, 0, 0
    cookies = [server.login() for _ in range(rounds(5, 250))]
    next_second()
    for number, cookie in enumerate(cookies):
        answers, left = stampede(server, cookie)

        assert left.status == 200
        assert left.cookie == ""
        assert {one.status for one in answers} <= {200, 401}
        before += sum(one.status == 200 for one in answers)
        after += sum(one.status == 401 for one in answers)
        renewed = {one.cookie for one in answers if one.cookie} | {cookie}
        copies += len(renewed) - 1
        for copy in renewed:
            tried = server.at_once(copy, 8)
            assert {one.status for one in tried} == {401}, (number, tried)
            assert not any(one.cookie for one in tried), number
    tell(
        f"64 at once with one token while it is revoked: {way}, {token_store}",
        revocations=len(cookies),
        renewed_copies=copies,
        accepted=0,
    )
    assert copies, "nothing was renewed, so nothing was tried"
    assert before
    assert after


def test_renewal_throws_nobody_out(serve: Serve) -> None:
    """Without a revocation each of many parallel requests passes, with old copies and new."""
    server = serve(settings={"ALWAYS_RENEW": "yes"})
    copies = [server.login()]
    count = rounds(4, 30)
    for _ in range(count):
        next_second()
        for cookie in random.sample(copies, min(4, len(copies))):
            answers = server.at_once(cookie, PARALLEL)
            assert {one.status for one in answers} == {200}
            assert "" not in {one.cookie for one in answers}
            copies += {one.cookie for one in answers if one.cookie} - set(copies)
    assert len(copies) >= count
    for cookie in copies:
        assert server.me(cookie).status == 200
