"""The errors of nodes along the depth of a graph: accumulated as a line, local as dots, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelport.core.text import plain
from modelport.report.page.charts.plot import TOP, Axis, Frame, frame, legend
from modelport.report.page.charts.svg import WIDTH, drawing, fitting, line, mark, path, text
from modelport.report.page.parts import Cell, Chart, Table

# Decades below the largest error that are drawn; what lies lower stands on the axis.
DECADES = 12
# What is smaller, or larger than its inverse, is drawn at the ends of the axis.
LEAST = 1e-30
# Rows of the table behind the chart, and culprits that are named in it.
ROWS, NAMED = 120, 3
TITLE = "Error along the depth"
ALONG, UP = "node, in the graph's order", Axis("relative L2 error", log=True)
PLACES = 5
LINE, BOUND, DOT, WORST = "stroke-ink", "axis", "muted", "fill-fail"
DASHED = "3 3"


@dataclass(frozen=True, slots=True)
class Point:
    """One node. An error that is not finite is ``math.inf``, one that nobody measured None."""

    place: int
    node: str
    op: str
    module: str
    local: float | None
    accumulated: float | None
    expected: float | None
    key: str  # where it stands in the file

    @property
    def departs(self) -> bool:
        """Whether its own error is more than its precision explains."""
        return self.local is not None and self.expected is not None and not self.local <= self.expected

    @property
    def error(self) -> float | None:
        """Its own error; where nobody measured that, the accumulated one."""
        return self.accumulated if self.local is None else self.local


def depth_chart(points: Sequence[Point], culprits: Sequence[str], total: int) -> Chart | None:
    """Return the chart of nodes in their order, of ``total`` in the graph; None where none has an error."""
    points = sorted(points, key=lambda one: one.place)
    errors = [error for one in points for error in (one.local, one.accumulated) if error is not None]
    if not errors:
        return None
    named = [one for one in points if one.node in culprits][:NAMED]
    plot = _frame(points, errors)
    parts = [
        *plot.parts,
        _line(plot, points, lambda one: one.expected, BOUND, DASHED),
        _line(plot, points, lambda one: one.accumulated, LINE),
        *_marks(plot, [one for one in points if not one.departs], "circle", DOT, 2.0),
        *_marks(plot, [one for one in points if one.departs], "diamond", WORST, 3.5),
        *(_name(plot, one) for one in named),
    ]
    if not max(errors) < math.inf:
        parts.append(text(WIDTH, TOP - 5, "at the top: not finite", "muted", "end"))
    drawn, height = legend(plot.height, _entries(min(errors) <= plot.y.low))
    said = _alternative(points, named, errors, total)
    return Chart(TITLE, drawing(plot.height + height, [*parts, *drawn]), said, _table(points, culprits, total))


def _entries(is_below: bool) -> list[tuple[Markup, str]]:
    entries = [
        (line(0, 0, 20, 0, LINE), "accumulated, from the model's inputs on"),
        (mark(10, 0, "circle", DOT, 2.0), "local, of the node alone"),
        (mark(10, 0, "diamond", WORST, 3.5), "local, more than the precision explains"),
        (line(0, 0, 20, 0, BOUND, DASHED), "explained by the precision"),
    ]
    return [*entries, (Markup(""), "on the lower axis: 0, or less than the axis shows")] if is_below else entries


def _frame(points: Sequence[Point], errors: Sequence[float]) -> Frame:
    bounds = [one.expected for one in points if one.expected is not None]
    seen = [error for error in [*errors, *bounds] if LEAST < error < 1 / LEAST] or [1.0]
    high = max(seen)
    first, last = points[0].place, points[-1].place
    ticks = (float(round(first + (last - first) * share / PLACES)) for share in range(PLACES + 1))
    along = Axis(ALONG, at=tuple(ticks))
    return frame(along, UP, [one.place for one in points], [max(error, high / 10**DECADES) for error in seen])


def _line(
    plot: Frame, points: Sequence[Point], error: Callable[[Point], float | None], look: str, dash: str = ""
) -> Markup:
    places = [(plot.x(one.place), plot.y(value)) for one in points if (value := error(one)) is not None]
    return path(places, look, dash) if places else Markup("")


def _marks(plot: Frame, points: Sequence[Point], shape: str, look: str, size: float) -> list[Markup]:
    return [mark(plot.x(one.place), plot.y(one.local), shape, look, size) for one in points if one.local is not None]


def _name(plot: Frame, one: Point) -> Markup:
    x, y = plot.x(one.place), max(TOP + 12, plot.y(one.error or 0.0) - 7)
    right = x < WIDTH * 0.6
    words = fitting(one.node, (WIDTH - x if right else x) - 12)
    return line(x, TOP, x, plot.bottom, "stroke-fail", "1 3") + text(
        x + 6 if right else x - 6, y, words, "", "start" if right else "end"
    )


def told(error: float | None) -> str:
    """Return an error for people."""
    return "–" if error is None else f"{error:.2g}" if error < math.inf else "infinite"


def _alternative(points: Sequence[Point], named: Sequence[Point], errors: Sequence[float], total: int) -> str:
    within = f"Relative L2 error of {len(points)} of {total} nodes, from {told(min(errors))} to {told(max(errors))}."
    if not named:
        return f"{within} None of them is named as the cause."
    places = "; ".join(
        f"{plain(one.node, 80)} at place {one.place}: local {told(one.local)}, accumulated {told(one.accumulated)}"
        for one in named
    )
    return f"{within} Named as the cause: {places}."


def _table(points: Sequence[Point], culprits: Sequence[str], total: int) -> Table:
    """Return the numbers: the culprits and the largest errors, in the graph's order."""

    def rank(one: Point) -> tuple[bool, float]:
        return one.node not in culprits, -(one.error or 0.0)

    kept = sorted(sorted(points, key=rank)[:ROWS], key=lambda one: one.place)
    rows = [
        [
            Cell(str(one.place), one.key),
            Cell(plain(one.node, 80)),
            Cell(plain(one.op, 40)),
            Cell(plain(one.module, 80)),
            Cell(told(one.local), tone="fail" if one.departs else ""),
            Cell(told(one.accumulated)),
            Cell(told(one.expected)),
        ]
        for one in kept
    ]
    caption = f"Relative L2 errors of {len(kept)} of {total} nodes"
    header = ("place", "node", "operator", "module", "local", "accumulated", "explained")
    return Table(header, rows, caption, frozenset({0, 4, 5, 6}))
