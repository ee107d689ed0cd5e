"""A figure over time: each result with its interval, and what changed for certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import BELOW, PLOT_HEIGHT, RIGHT, TOP, legend
from modelport.report.page.charts.scale import Scale, drawable, short, thinned, ticks
from modelport.report.page.charts.svg import CHARACTER, WIDTH, drawing, line, mark, path, text
from modelport.report.page.parts import Cell, Chart, Table

DAY = 86_400.0
# Dates beside the axis, where there is room for them.
DATES = 4
# Units across of a digit, which is wider than most letters.
DIGIT = 7.2
# By what is certain of the change since the moment before: shape, look and tone of the mark, and what it means.
CERTAIN = {
    "better": ("triangle", "fill-pass", "pass", "better than the one before, for certain"),
    "worse": ("diamond", "fill-fail", "fail", "worse than the one before, for certain"),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """A result's figure. ``change``: better, worse, or any other word where nothing is certain."""

    when: datetime  # with its zone
    value: float
    low: float | None = None  # bounds of the figure, where they are known
    high: float | None = None
    change: str = ""
    key: str = ""  # where the value stands in the file

    @property
    def ends(self) -> list[float]:
        """All that is drawn of it."""
        return [value for value in (self.value, self.low, self.high) if value is not None and drawable(value)]


def timeline(title: str, unit: str, moments: Sequence[Moment], digits: int = 2) -> Chart | None:
    """Return a line through the figures in the order of time; None where fewer than two can be drawn.

    ``digits``: behind the point, in the table of the numbers.
    """
    shown = sorted((one for one in moments if drawable(one.value)), key=lambda one: one.when)
    if len(shown) < 2:
        return None
    heights = [value for one in shown for value in one.ends]
    up = ticks(min(heights), max(heights))
    left, bottom = 8 + CHARACTER * max(len(short(value)) for value in up), TOP + PLOT_HEIGHT
    y, x = Scale(up[0], up[-1], bottom, TOP), _along(shown, left + 6, WIDTH - RIGHT)
    parts = [text(0, 12, unit, "muted"), line(left, bottom, WIDTH - RIGHT, bottom, "axis")]
    for value in up:
        parts += [line(left, y(value), WIDTH - RIGHT, y(value), "grid")]
        parts += [text(left - 5, y(value) + 4, short(value), "", "end")]
    parts += _dates(x, bottom)
    parts.append(path([(x(one.when.timestamp()), y(one.value)) for one in shown], "stroke-engine"))
    for one in shown:
        place = x(one.when.timestamp())
        if one.low is not None and one.high is not None and drawable(one.low, one.high):
            parts.append(line(place, y(one.low), place, y(one.high), "stroke-engine"))
        parts.append(_sign(one.change, place, y(one.value)))
    drawn, height = legend(bottom + BELOW, _legend(shown))
    picture = drawing(bottom + BELOW + height, [*parts, *drawn])
    return Chart(title, picture, _said(title, unit, shown), _numbers(title, unit, moments, digits))


def _along(shown: Sequence[Moment], start: float, end: float) -> Scale:
    """Return the scale of time, in seconds since 1970; a day wide where all is of one moment."""
    first, last = shown[0].when.timestamp(), shown[-1].when.timestamp()
    return Scale(first, last, start, end) if last > first else Scale(first - DAY / 2, first + DAY / 2, start, end)


def _dates(x: Scale, bottom: float) -> list[Markup]:
    span, parts = x.high - x.low, list[Markup]()
    form = "%Y-%m-%d" if span > 2 * DAY else "%m-%d %H:%M"
    moments = [x.low + span * index / (DATES - 1) for index in range(DATES)]
    labels = [datetime.fromtimestamp(moment, UTC).strftime(form) for moment in moments]
    half = DIGIT * len(labels[0]) / 2
    places = [min(max(x(moment), half), WIDTH - half) for moment in moments]
    for index in thinned(places, 2 * half + 6):
        there = x(moments[index])
        parts += [line(there, bottom, there, bottom + 4, "axis")]
        parts += [text(places[index], bottom + 17, labels[index], "", "middle")]
    return [*parts, text((x.start + x.end) / 2, bottom + 34, "started, UTC", "muted", "middle")]


def _sign(change: str, x: float, y: float) -> Markup:
    shape, look, *_ = CERTAIN.get(change, ("circle", "fill-engine"))
    return mark(x, y, shape, look, 5.0 if change in CERTAIN else 3.0)


def _legend(shown: Sequence[Moment]) -> list[tuple[Markup, str]]:
    bounded = "; upright: between which bounds it lies" if any(one.low is not None for one in shown) else ""
    entries = [(line(0, 0, 20, 0, "stroke-engine") + _sign("", 10, 0), f"a result{bounded}")]
    met = {one.change for one in shown}
    return entries + [(_sign(word, 10, 0), means) for word, (*_, means) in CERTAIN.items() if word in met]


def _said(title: str, unit: str, shown: Sequence[Moment]) -> str:
    low, high = min(shown, key=lambda one: one.value), max(shown, key=lambda one: one.value)
    first, last = shown[0], shown[-1]
    certain = [f"{one.change} on {_day(one)}" for one in shown if one.change in CERTAIN]
    told = f"{title}, {unit}: {len(shown)} results from {short(first.value)} on {_day(first)} to {short(last.value)} "
    told += f"on {_day(last)}; lowest {short(low.value)} on {_day(low)}, highest {short(high.value)} on {_day(high)}. "
    return told + (f"Certain changes: {', '.join(certain)}." if certain else "No change is certain.")


def _day(one: Moment) -> str:
    return one.when.strftime("%Y-%m-%d")


def _numbers(title: str, unit: str, moments: Sequence[Moment], digits: int) -> Table:
    rows = []
    for one in moments:
        _, _, tone, _ = CERTAIN.get(one.change, ("", "", "", ""))
        rows.append(
            [
                Cell(one.when.strftime("%Y-%m-%d %H:%M")),
                figure(one.value, digits, one.key),
                figure(one.low, digits),
                figure(one.high, digits),
                Cell(one.change, tone=tone),
            ]
        )
    return Table(("started, UTC", unit, "from", "to", "change"), rows, title, frozenset({1, 2, 3}))
