"""axe: what keeps people from using a page, found in the real browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.example.browser import Browser
from tests.servers import npm

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


def findings(browser: Browser) -> list[str]:
    """What is wrong with the page that is open, a line each; none: nothing."""
    found = browser.run(_RUN.format(source=source(), tags=TAGS))
    assert found["wrong"] or found["passed"] > 10, "axe looked at nothing"
    wrong: list[str] = found["wrong"]
    return wrong
