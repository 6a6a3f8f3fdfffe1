"""How the tests are run: what failed has a second try by itself, unless a promise was broken."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import stages

SLOW = "E       AssertionError: it did not come true within 30 s"
WRONG = "E       assert (200, None) == (401, 'revoked')"
BROKEN = "E       AssertionError: 3 violations"


def report(folder: Path, *said: str) -> Path:
    """As pytest writes it, with a failure for each text in *said*."""
    cases = "".join(
        f'<testcase classname="tests.redis.test_x.TestY" name="test_{number}[a.b]"'
        f' file="tests/redis/test_x.py"><failure message="m">def test():\n{text}</failure>'
        "</testcase>"
        for number, text in enumerate(said)
    )
    file = folder / "redis.xml"
    file.write_text(
        f"<testsuites><testsuite>{cases}<testcase name='good'/></testsuite></testsuites>"
    )
    return file


def run_again(
    monkeypatch: pytest.MonkeyPatch, file: Path, status: int
) -> tuple[stages.Result, list[Any]]:
    asked: list[Any] = []
    monkeypatch.setattr(
        stages, "run_pytest", lambda command, limit, soak: asked.append(command) or status
    )
    result = stages.Result("redis", "failed (pytest's exit status is 1)", failed=1, passed=9)
    stages.run_again(next(one for one in stages.STAGES if one.name == "redis"), file, result, [])
    return result, asked


def test_a_test_that_passes_by_itself_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It counts as passed, and the end of the run says which it was."""
    result, asked = run_again(monkeypatch, report(tmp_path, SLOW), 0)
    assert result.good
    assert (result.passed, result.failed) == (10, 0)
    assert result.again == ["tests/redis/test_x.py::TestY::test_0[a.b]"]
    assert asked[0][-1] == result.again[0]


def test_a_test_that_fails_again_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Then nothing is said to be well."""
    result, asked = run_again(monkeypatch, report(tmp_path, SLOW), 1)
    assert asked
    assert not result.good
    assert not result.again


@pytest.mark.parametrize("said", [[BROKEN], [SLOW, BROKEN], [WRONG], [SLOW] * 5, []])
def test_nothing_is_run_again_where_it_would_hide_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    """A promise that was seen broken once is broken; and where much failed, something is wrong."""
    result, asked = run_again(monkeypatch, report(tmp_path, *said), 0)
    assert not asked
    assert not result.good
