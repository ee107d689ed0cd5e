"""Rows of one metric: each engine's figure with its interval, beside the source's and what is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import BELOW, RIGHT, Axis, legend, lying
from modelport.report.page.charts.points import Kind
from modelport.report.page.charts.scale import Scale, drawable, within
from modelport.report.page.charts.svg import WIDTH, drawing, fitting, line, mark, text
from modelport.report.page.parts import Cell, Chart, Table

ROW = 38.0
LEFT = 8.0
SHAPES: dict[Kind, str] = {"engine": "circle", "source": "diamond", "published": "square"}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure. ``interval`` are its bounds, None for no bound; ``limit`` is the last figure that would pass."""

    name: str
    value: float
    kind: Kind = "engine"
    interval: tuple[float | None, float | None] | None = None
    limit: float | None = None
    key: str = ""
    note: str = ""

    @property
    def bounded(self) -> bool:
        """Whether anything bounds it."""
        return self.interval is not None and self.interval != (None, None)

    @property
    def ends(self) -> list[float]:
        """All that is drawn of the row."""
        told = (self.value, *(self.interval or ()), self.limit)
        return [value for value in told if value is not None and drawable(value)]


def interval_rows(title: str, unit: str, rows: Sequence[Row]) -> Chart | None:
    """Return a line for each row on one axis of the metric; None where nothing can be drawn."""
    shown = [row for row in rows if drawable(row.value)]
    if not shown:
        return None
    bottom = ROW * len(shown) + 6
    values = [value for row in shown for value in row.ends]
    span = max(values) - min(values)
    scale, parts = lying(Axis(unit), values, (LEFT, WIDTH - RIGHT), bottom, 0.0)
    for index, row in enumerate(shown):
        top = index * ROW
        words = f"{row.name}: {within(row.value, span)}{_bounds(row, span)}"
        parts.append(text(LEFT, top + 13, fitting(words, WIDTH - LEFT)))
        parts += _drawn(row, top + 25, scale)
    entries = [(_sign(kind), _meaning(kind)) for kind in SHAPES if any(row.kind == kind for row in shown)]
    if any(row.bounded for row in shown):
        entries.insert(0, (line(0, 0, 20, 0, "stroke-engine"), "line: where the figure lies by the paired interval"))
    if any(row.limit is not None for row in shown):
        entries.append((line(10, -7, 10, 7, "stroke-ink"), "upright: the last figure that would pass"))
    drawn, height = legend(bottom + BELOW, entries)
    words = f"{title}, {unit}. " + "; ".join(_said(row, span) for row in shown) + "."
    return Chart(title, drawing(bottom + BELOW + height, [*parts, *drawn]), words, _numbers(title, unit, rows))


def _drawn(row: Row, y: float, scale: Scale) -> list[Markup]:
    parts = list[Markup]()
    if row.interval is not None and row.bounded:
        low, high = (None if end is None or not drawable(end) else scale(end) for end in row.interval)
        # An end that nothing bounds reaches the frame, and has no stop.
        left, right = scale.start if low is None else low, scale.end if high is None else high
        parts.append(line(left, y, right, y, "stroke-engine"))
        parts += [line(end, y - 4, end, y + 4, "stroke-engine") for end in (low, high) if end is not None]
    if row.limit is not None and drawable(row.limit):
        parts.append(line(scale(row.limit), y - 8, scale(row.limit), y + 8, "stroke-ink"))
    return [*parts, mark(scale(row.value), y, SHAPES[row.kind], f"fill-{row.kind}")]


def _bounds(row: Row, span: float) -> str:
    if row.interval is None or not row.bounded:
        return ""
    low, high = ("?" if end is None else within(end, span) for end in row.interval)
    return f" ({low} to {high})"


def _said(row: Row, span: float) -> str:
    said = f"{row.name}: {within(row.value, span)}"
    if row.interval is not None:
        low, high = ("no bound" if end is None else within(end, span) for end in row.interval)
        said += f", between {low} and {high}"
    return said + (f", the last that would pass {within(row.limit, span)}" if row.limit is not None else "")


def _sign(kind: Kind) -> Markup:
    return mark(10, 0, SHAPES[kind], f"fill-{kind}")


def _meaning(kind: Kind) -> str:
    return {"engine": "this run", "source": "source model, same samples", "published": "published"}[kind]


def _numbers(title: str, unit: str, rows: Sequence[Row]) -> Table:
    drawn = [
        [
            Cell(row.name),
            figure(row.value, 4, row.key),
            *(figure(end, 4) for end in row.interval or (None, None)),
            figure(row.limit, 4),
            Cell(row.note),
        ]
        for row in rows
    ]
    return Table(("of", unit, "from", "to", "limit", "beside it"), drawn, title, frozenset({1, 2, 3, 4}))
