"""A page that is open when the login ends, in a real browser before real workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.example.browser import Trouble
from tests.example.somebody import somebody
from tests.gunicorn.server import GunicornServer
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.gunicorn]

#: What the page says when all is well, in whatever order.
OPEN = {"the stream is open", "the other stream is open", "the socket is open"}


def test_a_page_that_is_open_is_told_why_its_streams_and_sockets_end(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """``event: end`` with the reason, close code 4401 with the reason; and a page that connects
    anew all the same is not let in. On a revocation, and on a lock."""
    server = GunicornServer(
        tmp_path,
        *("--worker-class", "gthread", "--threads", "20"),
        workers=2,
        app="tests.gunicorn.streaming:app",
        hooks=False,
    )
    with server, somebody(pytestconfig) as browser:
        home = f"http://127.0.0.1:{server.port}"

        def said(css: str = "#said") -> set[str]:
            try:
                return set(browser.text(css).splitlines())
            except Trouble:
                return set()  # the page went away while it was read

        for path, reason in (("/end/alice", "revoked"), ("/lock/alice", "locked")):
            browser.open(f"{home}/login?as=alice")
            browser.open(f"{home}/page")
            wait_until(lambda: said() == OPEN, 60)
            assert server.ask("POST", path).body == b"in force"
            ended = {
                f"the stream ended: {reason}",
                f"the socket: 4401 {reason}",
                "the other stream was not let in again",
            }
            wait_until(lambda ended=ended: said() == OPEN | ended, 60)  # type: ignore[misc]

        browser.open(f"{home}/page")
        wait_until(lambda: "alice may not come back." in said("body"), 60)
        browser.open(f"{home}/login?as=alice")
        wait_until(lambda: "alice may not come back." in said("body"), 60)
