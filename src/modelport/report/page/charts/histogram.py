"""Bars over bins: how often a figure was met."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import Axis, frame
from modelport.report.page.charts.scale import drawable, short
from modelport.report.page.charts.svg import CHARACTER, bar, drawing, line, text
from modelport.report.page.parts import Cell, Chart, Table

# Ends that differ by more than this factor lie on an axis of ratios.
WIDE = 3.0
# What any bin that holds something has in height, in units: a tail is to be seen.
SEEN = 2.0


def histogram(
    title: str,
    unit: str,
    edges: Sequence[float],
    counts: Sequence[float],
    marks: Sequence[tuple[str, float]] = (),
    key: str = "",
) -> Chart | None:
    """Return bars of the height of each bin's count; ``marks`` are values to be marked, with their names.

    ``edges`` stand in order and are one more than ``counts``. None where nothing can be drawn.
    """
    if len(edges) != len(counts) + 1 or not drawable(*edges, *counts) or list(edges) != sorted(edges):
        return None
    if not counts or min(counts) < 0 or not sum(counts):
        return None
    ratios = edges[0] > 0 and edges[-1] / edges[0] > WIDE
    plot = frame(Axis(unit, log=ratios), Axis("runs", from_zero=True), edges, counts, 130.0)
    parts = list(plot.parts)
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            start, end = plot.x(left), plot.x(right)
            height = max(SEEN, plot.bottom - plot.y(count))
            width = max(1.0, end - start - 0.6)
            parts.append(bar(start, plot.bottom - height, width, height, "fill-engine", 0.8))
    shown = [(name, value) for name, value in marks if drawable(value) and edges[0] <= value <= edges[-1]]
    parts += _marked(plot.x.start, plot.x.end, plot.y.end, plot.bottom, [(name, plot.x(at)) for name, at in shown])
    most = max(range(len(counts)), key=lambda index: counts[index])
    words = f"{title}: {short(sum(counts))} runs from {short(edges[0])} to {short(edges[-1])} {unit}; most of them, "
    words += f"{short(counts[most])}, from {short(edges[most])} to {short(edges[most + 1])}"
    words += "".join(f"; {name} {short(value)}" for name, value in shown) + "."
    if ratios:
        words += " The lying axis is one of ratios, bins are not of one width."
    return Chart(title, drawing(plot.height, parts), words, _numbers(title, unit, edges, counts, key))


def _marked(left: float, right: float, top: float, bottom: float, places: Sequence[tuple[str, float]]) -> list[Markup]:
    """Return an upright line for each place, its name beside it in one of two rows, where there is room."""
    parts, free = list[Markup](), [left, left]
    for name, place in sorted(places, key=lambda one: one[1]):
        parts.append(line(place, top, place, bottom, "stroke-ink", "3 2"))
        width = CHARACTER * len(name)
        start = min(place + 3, right - width)
        row = next((row for row, end in enumerate(free) if start >= end), None)
        if row is not None:
            parts.append(text(start, top + 9 + 13 * row, name))
            free[row] = start + width + 4
    return parts


def _numbers(title: str, unit: str, edges: Sequence[float], counts: Sequence[float], key: str) -> Table:
    rows = [
        [
            figure(left, 3, f"{key}.edges.{index}"),
            figure(right, 3, f"{key}.edges.{index + 1}"),
            Cell(f"{count:g}", f"{key}.counts.{index}"),
        ]
        for index, (left, right, count) in enumerate(zip(edges, edges[1:], counts, strict=False))
    ]
    return Table((f"from {unit}", f"below {unit}", "runs"), rows, title, frozenset({0, 1, 2}))
