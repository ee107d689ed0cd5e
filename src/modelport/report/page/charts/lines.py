"""Lines with marks: what becomes of a figure as another one grows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import Axis, frame, legend
from modelport.report.page.charts.points import Point, Series, left_out
from modelport.report.page.charts.scale import short
from modelport.report.page.charts.svg import DASHES, MARKS, drawing, line, mark, path
from modelport.report.page.parts import Cell, Chart, Table

# More lines than this cannot be told apart; the numbers hold all of them.
MOST = len(MARKS)


def lines(title: str, series: Sequence[Series], x: Axis, y: Axis) -> Chart | None:
    """Return a line for each series; None where nothing can be drawn. More than ``MOST`` stand in the numbers alone."""
    shown = [one for one in series if one.drawn][:MOST]
    points = [point for one in shown for point in one.drawn]
    if not points:
        return None
    plot = frame(x, y, [point.x for point in points], [point.y for point in points])
    parts, entries = list(plot.parts), list[tuple[Markup, str]]()
    for one, shape, dash in zip(shown, MARKS, DASHES, strict=False):
        stroke, fill = f"stroke-{one.kind}", f"fill-{one.kind}"
        places = [(plot.x(point.x), plot.y(point.y)) for point in one.drawn]
        parts.append(path(places, stroke, dash))
        parts += [mark(*place, shape, fill) for place in places]
        entries.append((line(0, 0, 20, 0, stroke, dash) + mark(10, 0, shape, fill), one.name))
    drawn, height = legend(plot.height, entries)
    said = ". ".join(_said(one) for one in shown) + "." + left_out(series)
    if len(series) > len(shown):
        said += f" {len(shown)} of {len(series)} are drawn; the numbers hold all."
    words = f"{title}: {y.title} over {x.title}. {said}"
    return Chart(title, drawing(plot.height + height, [*parts, *drawn]), words, _numbers(title, series, x, y))


def _said(one: Series) -> str:
    points = one.drawn
    if len(points) == 1:
        return f"{one.name}: {short(points[0].y)} at {short(points[0].x)}"
    low, high = min(points, key=_height), max(points, key=_height)
    first, last = points[0], points[-1]
    ends = f"from {short(first.y)} at {short(first.x)} to {short(last.y)} at {short(last.x)}"
    return f"{one.name}: {ends}; lowest {short(low.y)} at {short(low.x)}, highest {short(high.y)} at {short(high.x)}"


def _height(point: Point) -> float:
    return point.y


def _numbers(title: str, series: Sequence[Series], x: Axis, y: Axis) -> Table:
    rows = [
        [Cell(one.name), Cell(f"{point.x:g}"), figure(point.y, key=point.key), Cell(point.note, tone="doubt")]
        for one in series
        for point in one.points
    ]
    return Table(("of", x.title, y.title, "beside it"), rows, title, frozenset({1, 2}))
