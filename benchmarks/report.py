"""Tables and plots of all parts whose results are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .run import Part, Result, markdown_table


def write(folder: Path, parts: Mapping[str, Part]) -> None:
    """Write README.md, one Markdown file a part, and the plots, from the JSON files in *folder*."""
    results: dict[str, Result] = {}
    for name in parts:
        file = folder / f"{name}.json"
        if file.exists():
            results[name] = json.loads(file.read_text())
    pages = ["# The measurements\n"]
    for name, result in results.items():
        part = parts[name]
        text = part.table(result)
        (folder / f"{name}.md").write_text(f"{text}\n{_when(result)}\n")
        pages.append(f"## {part.TITLE}\n\n{text}\n{_when(result)}\n")
        for plot, picture in part.plots(result).items():
            (folder / f"{plot}.svg").write_text(picture)
            pages.append(f"![{part.TITLE}]({plot}.svg)\n")
    if results:
        machine = max((one["machine"] for one in results.values()), key=lambda one: one["date"])
        rows = markdown_table(["what", "version"], [[*row] for row in machine.items()])
        rows = rows.replace("---:", "---")
        (folder / "machine.md").write_text(rows)
        pages.append(f"## Machine and versions\n\n{rows}")
        (folder / "README.md").write_text("\n".join(pages))


def _when(result: Result) -> str:
    machine = result["machine"]
    return f"*Measured {machine['date']} ({machine['how']} run, {result['seconds']} s).*"
