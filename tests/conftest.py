"""What every test may ask for."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# No test asserts speed: a machine that does other things as well makes every example slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Before anything imports prometheus_client, which decides at its import where it counts: apps of
# many tests are in one process. (Servers of tests are not told of it.)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts = tempfile.mkdtemp(prefix="counts-")
atexit.register(shutil.rmtree, counts, ignore_errors=True)

#: Says what was counted: ``tell("logouts, sync", rounds=300, accepted=0)``.
Tell = Callable[..., None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """For long tests: what they counted, for the table that the full run makes."""

    def tell(what: str, **counted: object) -> None:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in counted.items())
        record_property(what, said)
        print(f"\n{what}: {said}")

    return tell
