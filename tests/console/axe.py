"""axe: what keeps people from using a page, found in the real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.example.browser import Pages
from tests.example.somebody import Somebody, missing, somebody
from tests.servers import npm
from tests.servers.running import CannotRun

HERE = Path(__file__).resolve().parent / "node"

#: WCAG 2.2 AA, and what axe's authors call good practice besides.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

_RUN = """
{source}
const done = arguments[arguments.length - 1];
axe.run(document, {{runOnly: {tags}}}).then((found) => done({{
    passed: found.passes.length,
    wrong: found.violations.flatMap((one) => one.nodes.map((node) =>
        one.id + ": " + node.target + ": " + node.failureSummary)),
}}), (error) => done({{passed: 0, wrong: [String(error)]}}));
"""


@cache
def source() -> str:
    """axe-core itself, fetched by npm. Raises :class:`CannotRun` where that is not installed."""
    folder = npm.fetch(HERE, "npm-pages")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@contextmanager
def looking(config: pytest.Config) -> Iterator[Somebody]:
    """Somebody in front of the browser, and axe at hand: promised by the run they are there."""
    try:
        source()
    except CannotRun as error:
        missing(str(error))
    with somebody(config) as one:
        yield one


def findings(browser: Pages) -> list[str]:
    """What is wrong with the page that is open, a line each; none: nothing."""
    found = browser.run(_RUN.format(source=source(), tags=TAGS))
    assert found["wrong"] or found["passed"] > 10, "axe looked at nothing"
    wrong: list[str] = found["wrong"]
    return wrong
