"""Points by speed and accuracy, with the front of those that none beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import Axis, frame, legend
from modelport.report.page.charts.points import Point, Series, left_out
from modelport.report.page.charts.scale import drawable, short
from modelport.report.page.charts.svg import drawing, line, mark, path
from modelport.report.page.parts import Cell, Chart, Table
from modelport.verdict.words import FAIL, PASS

# By verdict: shape and look of the mark, and what it means.
LOOKS = {PASS: ("circle", "fill-engine", "accuracy holds"), FAIL: ("diamond", "stroke-fail", "loses more than it may")}
OPEN = ("triangle", "stroke-doubt", "accuracy is not settled")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with its speed (``point.x``) and its accuracy (``point.y``)."""

    point: Point
    speed_key: str
    verdict: str  # of its accuracy: pass, fail, or another word where nothing is settled
    chosen: bool = False


def front(points: Sequence[Point], low_is_good: bool = False) -> list[Point]:
    """Return the points that none beats in ``x`` without being worse in ``y``, by ``x``; of equal ones the first."""
    sign = -1.0 if low_is_good else 1.0
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.x, -sign * one.y)):
        if not found or sign * point.y > sign * found[-1].y:
            found.append(point)
    return found[::-1]


def accuracy_by_speed(
    title: str, settings: Sequence[Setting], metric: str, source: float | None = None, low_is_good: bool = False
) -> Chart | None:
    """Return the settings as marks, their front as a line, the source's accuracy beside it; None without any."""
    series = [Series("", [one.point]) for one in settings]
    shown = [one for one, each in zip(settings, series, strict=True) if each.drawn]
    if not shown:
        return None
    best = front([one.point for one in shown], low_is_good)
    level = [source] if source is not None and drawable(source) else []
    heights = [one.point.y for one in shown] + level
    x, y = Axis("samples/s, end to end"), Axis(metric)
    plot = frame(x, y, [one.point.x for one in shown], heights)
    parts = list(plot.parts)
    for value in level:
        parts.append(line(plot.x.start, plot.y(value), plot.x.end, plot.y(value), "stroke-source", "6 3"))
    parts.append(path([(plot.x(point.x), plot.y(point.y)) for point in best], "stroke-engine"))
    for one in shown:
        place = plot.x(one.point.x), plot.y(one.point.y)
        parts += [mark(*place, "circle", "stroke-ink", 8.0)] * one.chosen
        parts.append(_mark(one.verdict, *place))
    drawn, height = legend(plot.height, _signs(shown, bool(level)))
    names = "; ".join(f"{_name(point)}: {short(point.y)} at {short(point.x)} samples/s" for point in best)
    words = f"{title}: {metric} over samples/s, {len(shown)} settings. None beats in both: {names}."
    words += "".join(f" Chosen: {_name(one.point)}." for one in shown if one.chosen)
    words += f" The source model has {short(level[0])}." if level else ""
    words += left_out(series)
    return Chart(title, drawing(plot.height + height, [*parts, *drawn]), words, _numbers(title, settings, metric, best))


def _mark(verdict: str, x: float, y: float) -> Markup:
    shape, look, _ = LOOKS.get(verdict, OPEN)
    return mark(x, y, shape, look)


def _signs(shown: Sequence[Setting], source: bool) -> list[tuple[Markup, str]]:
    verdicts = {LOOKS.get(one.verdict, OPEN): one.verdict for one in shown}
    entries = [(_mark(verdicts[look], 10, 0), look[2]) for look in (*LOOKS.values(), OPEN) if look in verdicts]
    if any(one.chosen for one in shown):
        entries.append((mark(10, 0, "circle", "stroke-ink", 7.0), "ring: the setting that was chosen"))
    if len(shown) > 1:
        entries.append((line(0, 0, 20, 0, "stroke-engine"), "front: none beats these in both"))
    return [*entries, (line(0, 0, 20, 0, "stroke-source", "6 3"), "source model's accuracy")] if source else entries


def _name(point: Point) -> str:
    return point.name or "a setting"


def _numbers(title: str, settings: Sequence[Setting], metric: str, best: Sequence[Point]) -> Table:
    rows = [
        [
            Cell(one.point.name),
            figure(one.point.x, 1, one.speed_key),
            figure(one.point.y, 2, one.point.key),
            Cell("yes" if one.point in best else "no"),
            Cell(LOOKS.get(one.verdict, OPEN)[2], tone=one.verdict if one.verdict in LOOKS else "doubt"),
            Cell(f"{'chosen. ' if one.chosen else ''}{one.point.note}"),
        ]
        for one in sorted(settings, key=lambda one: one.point.x)
    ]
    header = ("setting", "samples/s", metric, "on the front", "accuracy", "beside it")
    return Table(header, rows, title, frozenset({1, 2}))
