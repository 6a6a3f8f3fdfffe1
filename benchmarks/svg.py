"""Plots, drawn by hand as SVG: small files that need no package, in both colour schemes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Point = tuple[float, float]

_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 13px; }
.small { font-size: 11px; fill: #59636e; }
.axis { stroke: #8c959f; fill: none; }
.grid { stroke: #8c959f; stroke-opacity: .3; }
.ours { fill: #0a7d5a; } .other { fill: #8c959f; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; }
  .ours { fill: #2fbf8f; } .other { fill: #6e7681; }
}
</style>"""

_COLOURS = ("#0a7d5a", "#b35900", "#3a6fd8", "#a0429a", "#6e7681", "#c0392b")


def _page(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">\n'
        f'{_STYLE}\n<text class="title" x="12" y="20">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def short(value: float) -> str:
    """A number as a person writes it on an axis."""
    if value == 0 or not math.isfinite(value):
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def bars(title: str, rows: Sequence[tuple[str, float, bool]], unit: str) -> str:
    """A bar a row, from the top; the flag marks our own."""
    left, width, step = 330, 760, 22
    most = max((value for _, value, _ in rows), default=1.0) or 1.0
    parts = []
    for count, (name, value, ours) in enumerate(rows):
        y = 36 + count * step
        length = max(1.0, value / most * (width - left - 90))
        kind = "ours" if ours else "other"
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{y + 2}" width="{length:.1f}" height="15"/>'
        )
        parts.append(
            f'<text class="small" x="{left + length + 5:.1f}" y="{y + 13}">'
            f"{short(value)} {escape(unit)}</text>"
        )
    return _page(width, 36 + len(rows) * step + 12, title, parts)


def lines(
    title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    across: str,
    up: str,
    log_up: bool = False,
) -> str:
    """Lines over a logarithmic axis; *log_up* makes the other one logarithmic too."""
    width, height, left, top, right, bottom = 760, 330, 70, 40, 215, 45
    points = [point for one in series.values() for point in one]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_high = max(y for _, y in points) * 1.1 or 1.0
    y_low = min(y for _, y in points if y > 0) / 1.5 if log_up else 0.0

    def place(point: Point) -> Point:
        x, y = point
        wide = math.log(x_high / x_low) or 1.0
        at_x = left + math.log(x / x_low) / wide * (width - left - right)
        logarithm = math.log(max(y, y_low) / y_low) / math.log(y_high / y_low) if log_up else 0.0
        share = logarithm if log_up else y / y_high
        return at_x, height - bottom - share * (height - top - bottom)

    parts = [
        f'<path class="axis" d="M{left} {top}V{height - bottom}H{width - right}"/>',
        f'<text class="small" x="{left}" y="{top - 8}">{escape(up)}</text>',
        f'<text class="small" x="{width - right}" y="{height - 8}" text-anchor="end">'
        f"{escape(across)}</text>",
    ]
    for x in sorted({x for x, _ in points}):
        at_x, _ = place((x, y_high))
        parts.append(
            f'<text class="small" x="{at_x:.0f}" y="{height - bottom + 16}" '
            f'text-anchor="middle">{short(x)}</text>'
        )
    for mark in _marks(y_low, y_high, log_up):
        _, at_y = place((x_high, mark))
        parts.append(f'<path class="grid" d="M{left} {at_y:.1f}H{width - right}"/>')
        parts.append(
            f'<text class="small" x="{left - 6}" y="{at_y + 4:.1f}" text-anchor="end">'
            f"{short(mark)}</text>"
        )
    for count, (name, values) in enumerate(series.items()):
        colour = _COLOURS[count % len(_COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(point)) for point in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in values:
            x, y = place(point)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        y = top + 10 + count * 18
        parts.append(
            f'<rect x="{width - right + 14}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
            f'<text class="small" x="{width - right + 30}" y="{y}">{escape(name)}</text>'
        )
    return _page(width, height, title, parts)


def _marks(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
        return [10.0**power for power in range(first, last + 1)] or [low, high]
    step = 10 ** math.floor(math.log10(high / 2))
    while high / step > 6:
        step *= 2 if str(step)[0] != "2" else 2.5
    return [step * count for count in range(int(high / step) + 1)]
