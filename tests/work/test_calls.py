"""How many calls of Python's a request of ours makes: a third of a microsecond each, measured.

They are counted, not timed. (``docs/performance`` says what a request takes.)
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from werkzeug.test import create_environ

import flask_clustertoken
from tests.extension.parts import MakeApp, cookie, login_text

OURS = str(Path(flask_clustertoken.__file__).parent)

#: What a seen token costs at most, in a view that asks twice who is there (three calls each time).
#: Whoever needs one more measures what it takes, and says why.
MOST = 20


@pytest.mark.parametrize("token_store", ["session", "cookie"])
def test_a_seen_token_costs_few_calls(make_app: MakeApp, token_store: str) -> None:
    """From the server's call of the application to the last byte, of all that is ours."""
    app, _ = make_app(TOKEN_STORE=token_store)
    headers = cookie(login_text(app))
    calls: list[str] = []

    def count(frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        # (The clock that is moved by hand is Python; the machine's own is not.)
        if event == "call" and path.startswith(OURS) and not path.endswith("clock.py"):
            calls.append(frame.f_code.co_name)

    def request() -> None:
        answer = app.wsgi_app(create_environ("/me", headers=headers), lambda *_: bytes)
        assert b"".join(answer)

    request()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        request()
    finally:
        sys.setprofile(before)

    assert 0 < len(calls) <= MOST, calls
