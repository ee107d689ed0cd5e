"""Bars over bins: how often a figure was met."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import Axis, frame, legend, swatch
from modelport.report.page.charts.scale import drawable, labels, short
from modelport.report.page.charts.svg import CHARACTER, WIDTH, bar, drawing, line, text
from modelport.report.page.parts import Cell, Chart, Table

# What any bin that holds something has in height, in units: a tail is to be seen.
SEEN = 2.0
# A bin that is wider than most by this factor is one of the tail, and drawn lighter.
WIDER = 1.5
# Modelport writes thirty bins; what has more than this is none of its own, and no bar of it would be seen.
MOST_BINS = 120


def histogram(
    title: str,
    unit: str,
    edges: Sequence[float],
    counts: Sequence[float],
    marks: Sequence[tuple[str, float]] = (),
    key: str = "",
) -> Chart | None:
    """Return bars of the height of each bin's count; ``marks`` are values to be marked, with their names.

    ``edges`` stand in order and are one more than ``counts``. All bins are drawn of one width, so that a long tail in
    few wide bins takes no room from the rest; the axis names the edges. None where nothing can be drawn.
    """
    if len(edges) != len(counts) + 1 or not drawable(*edges, *counts) or list(edges) != sorted(edges):
        return None
    if not 0 < len(counts) <= MOST_BINS or min(counts) < 0 or not sum(counts):
        return None
    widths = [right - left for left, right in pairwise(edges)]
    wide = [width > WIDER * median(widths) for width in widths]
    indices = tuple(map(float, range(len(edges))))
    x = Axis(unit, at=indices, words=tuple(labels(edges)))
    plot = frame(x, Axis("runs", from_zero=True), indices, counts, 130.0)
    parts = list(plot.parts)
    for index, count in enumerate(counts):
        if count:
            start, end = plot.x(index), plot.x(index + 1)
            height = max(SEEN, plot.bottom - plot.y(count))
            look = 0.45 if wide[index] else 0.9
            parts.append(bar(start, plot.bottom - height, end - start - 0.6, height, "fill-engine", look))
    shown = [(name, value) for name, value in marks if drawable(value) and edges[0] <= value <= edges[-1]]
    places = [(name, plot.x(_place(edges, value))) for name, value in shown]
    parts += _marked(plot.x.start, WIDTH, plot.y.end, plot.bottom, places)
    drawn, height = legend(plot.height, [(swatch("fill-engine", 0.45), "lighter: bins of a wider range")] * any(wide))
    words = f"{title}: {_said(unit, edges, counts)}" + "".join(f"; {name} {short(value)}" for name, value in shown)
    words += ". Some bins are of a wider range than others." if any(wide) else "."
    table = _numbers(title, unit, edges, counts, key)
    return Chart(title, drawing(plot.height + height, [*parts, *drawn]), words, table)


def _place(edges: Sequence[float], value: float) -> float:
    """Return where a value lies, counted in bins from the first edge."""
    index = min(max(bisect_right(edges, value) - 1, 0), len(edges) - 2)
    width = edges[index + 1] - edges[index]
    return index + (min((value - edges[index]) / width, 1.0) if width else 0.0)


def _said(unit: str, edges: Sequence[float], counts: Sequence[float]) -> str:
    most = max(range(len(counts)), key=lambda index: counts[index])
    words = f"{short(sum(counts))} runs from {short(edges[0])} to {short(edges[-1])} {unit}; most in one bin, "
    return words + f"{short(counts[most])}, from {short(edges[most])} to {short(edges[most + 1])}"


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
