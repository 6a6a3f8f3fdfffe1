"""What the tests of tracing leave behind: nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Who makes log records is the process's matter: other tests have their own again."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)
