"""A copied cookie under a real gunicorn: noticed by whichever worker it comes to, ended by all."""

from __future__ import annotations

import pytest

from tests.waiting import wait_until

from .conftest import Serve
from .server import GunicornServer

pytestmark = pytest.mark.gunicorn

#: Seconds that it may take on a machine that does other things as well.
PATIENCE = 60


class Jar:
    """A browser with one cookie, which says what it was answered last."""

    def __init__(self, server: GunicornServer, cookie: str) -> None:
        self._server = server
        self.cookie = cookie
        self.had = [cookie]

    def ask(self) -> int:
        answer = self._server.me(self.cookie)
        if answer.cookie:
            self.cookie = answer.cookie
            self.had.append(answer.cookie)
        return answer.status


@pytest.mark.parametrize("when", ["end", "report"])
def test_a_copied_cookie_is_noticed(serve: Serve, when: str) -> None:
    """Its owner goes on, and so does the thief, with a copy of the first cookie that is never
    replaced. Ended, no copy is good at any worker; and others have their logins."""
    settings = {"RENEW_AFTER": 3, "LIFETIME": 3600, "REUSE_GRACE": 1, "WHEN_REUSED": when}
    server = serve(settings=settings)
    owner, bystander = Jar(server, server.login()), Jar(server, server.login())
    stolen = owner.cookie

    def told() -> bool:
        assert bystander.ask() == 200
        for _ in range(2):
            assert owner.ask() in ({200, 401} if when == "end" else {200})
        if len(owner.had) > 2:
            # (Before that, nobody has used a newer copy for long.)
            assert server.me(stolen).status in ({200, 401} if when == "end" else {200})
        return "two holders" in server.said()

    wait_until(told, PATIENCE)
    if when == "end":
        for copy in owner.had:
            wait_until(
                lambda copy=copy: {one.status for one in server.at_once(copy, 8)} == {401}, PATIENCE
            )
    else:
        assert owner.ask() == 200
        assert server.me(stolen).status == 200
    assert bystander.ask() == 200
    assert len(bystander.had) > 1
    for copy in owner.had:
        assert copy not in server.said()
