"""What every test may ask for."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test asserts speed: a machine that does other things as well makes every example slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Before anything imports prometheus_client, which decides at its import where it counts: apps of
# many tests are in one process. (Servers of tests are not told of it.)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts = tempfile.mkdtemp(prefix="counts-")
atexit.register(shutil.rmtree, counts, ignore_errors=True)

#: Marks that a stage chooses, set by ``scripts/run-tests``: so a stage of a few files does not
#: import the three hundred others.
ONLY = os.environ.get("CLUSTERTOKEN_TEST_MARKS", "").split()

#: Marks by which a test belongs to another stage than the quick one; the first that it has counts.
MARKS = (
    *("quiet", "keycloak", "zookeeper", "postgresql", "redis", "gateway", "browser"),
    *("gunicorn", "processes"),
)


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _names(path: Path, mark: str) -> bool:
    return f"mark.{mark}" in _text(path)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file that names none of the marks that are looked for."""
    if not ONLY or collection_path.suffix != ".py" or not collection_path.is_file():
        return None
    # (Who asks for a file gets an answer of it.)
    given = {Path(one.partition("::")[0]).resolve() for one in config.args}
    if collection_path.resolve() in given or any(_names(collection_path, one) for one in ONLY):
        return None
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file names the mark that its tests carry: else their stage would not look into it."""
    for item in items:
        mark = next((one for one in MARKS if item.get_closest_marker(one)), None)
        if mark is not None and not _names(item.path, mark):
            raise pytest.UsageError(
                f"{item.nodeid} carries the mark {mark}, which its file does not name:"
                f" write pytest.mark.{mark} in {item.path.name}"
            )


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
