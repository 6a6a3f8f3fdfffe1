"""Servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .server import GunicornServer

Serve = Callable[..., GunicornServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server on this test's own instance folder; all end with the test."""
    with ExitStack() as running:

        def start(*options: str, **more: Any) -> GunicornServer:
            return running.enter_context(GunicornServer(tmp_path, *options, **more))

        yield start
