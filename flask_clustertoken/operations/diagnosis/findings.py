"""Finding: one sentence of a diagnosis, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence on one subject; *remedy* says what to do about it."""

    level: Level
    about: str
    what: str
    remedy: str = ""


def worst(findings: list[Finding]) -> Level:
    """The level of the whole: ``problem`` if there is one."""
    levels = {one.level for one in findings}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"
