"""The bar of a verdict: between which bounds the loss lies, against what may be lost."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from modelport.report.page.charts.scale import drawable
from modelport.report.page.charts.svg import CHARACTER, WIDTH, bar, drawing, line, text
from modelport.report.page.parts import Cell, Chart, Table

HEIGHT, TOP, BOTTOM = 50.0, 16.0, 34.0
# Free on either side, and what of the axis lies beyond the outermost of what is drawn.
EDGE, BEYOND = 6.0, 0.12


def interval_bar(
    metric: str, bounds: Sequence[float | None], allowed: float, unit: str, tone: str, key: str = ""
) -> Chart | None:
    """Return the bar; None where neither bound is known, or one is no number.

    ``bounds`` are of the loss, in ``unit``; None for one that is not known, which is drawn open. ``allowed`` is what
    may be lost.
    """
    low, high = bounds
    known = [end for end in (low, high) if end is not None]
    if not known or not drawable(*known, allowed):
        return None
    left, right = min(0.0, *known, allowed), max(0.0, *known, allowed)
    room = BEYOND * (right - left) or 1.0
    left, right = left - room, right + room

    def at(value: float) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * (value - left) / (right - left)

    start, end = (EDGE if low is None else at(low)), (WIDTH - EDGE if high is None else at(high))
    limit, middle = at(allowed), (TOP + BOTTOM) / 2
    parts = [
        bar(EDGE, TOP, limit - EDGE, BOTTOM - TOP, "fill-pass", 0.16),
        bar(limit, TOP, WIDTH - EDGE - limit, BOTTOM - TOP, "fill-fail", 0.12),
        line(at(0.0), TOP, at(0.0), BOTTOM, "axis", "2 2"),
        bar(start, middle - 3, max(end - start, 2.0), 6, f"fill-{tone or 'ink'}"),
        *(line(place, middle - 7, place, middle + 7, "stroke-ink") for place in _known_ends(low, high, start, end)),
        line(limit, TOP - 4, limit, BOTTOM + 4, "stroke-ink"),
        *_above(at(0.0), limit, f"{allowed:g} {unit} may be lost"),
        *_below(start, end, _number(low), f"{_number(high)} {unit}"),
    ]
    return Chart(
        f"Loss of {metric}",
        drawing(HEIGHT, parts),
        _words(metric, low, high, allowed, unit),
        _table(bounds, allowed, key),
    )


def _known_ends(low: float | None, high: float | None, start: float, end: float) -> list[float]:
    return [place for value, place in ((low, start), (high, end)) if value is not None]


def _above(zero: float, limit: float, words: str) -> list[Markup]:
    """Name the limit, and the place of no loss where there is room for both."""
    width = CHARACTER * len(words)
    right = limit + width > WIDTH
    named = [text(limit + (-4 if right else 4), TOP - 5, words, "muted", "end" if right else "start")]
    free = limit - width - 4 if right else limit - 4
    half = CHARACTER * len("no loss") / 2
    return [*named, text(zero, TOP - 5, "no loss", "muted", "middle")] if half < zero < free - half else named


def _below(start: float, end: float, low: str, high: str) -> list[Markup]:
    """Tell the bounds, each under its end; side by side where the ends lie close."""
    place, widths = HEIGHT - 2, (CHARACTER * len(low), CHARACTER * len(high))
    if end - start > (widths[0] + widths[1]) / 2 + 8:
        return [_within(start, place, low, widths[0]), _within(end, place, high, widths[1])]
    words = f"{low} to {high}"
    return [_within((start + end) / 2, place, words, CHARACTER * len(words))]


def _within(middle: float, y: float, words: str, width: float) -> Markup:
    return text(min(max(middle, width / 2 + 1), WIDTH - width / 2 - 1), y, words, "", "middle")


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.2f}".replace("-", "−") if abs(value) < 1e4 else f"{value:.2g}".replace("-", "−")


def _words(metric: str, low: float | None, high: float | None, allowed: float, unit: str) -> str:
    ends = " and ".join("an unknown number" if end is None else f"{end:.2f}" for end in (low, high))
    said = "the limit lies between them"
    if high is not None and high <= allowed:
        said = "all of it is within what may be lost"
    elif low is not None and low > allowed:
        said = "all of it is beyond what may be lost"
    return f"The loss of {metric} lies between {ends} {unit}; {allowed:g} {unit} may be lost: {said}."


def _table(bounds: Sequence[float | None], allowed: float, key: str) -> Table:
    cells = [Cell(_number(end), f"{key}.interval.{index}" if key else "") for index, end in enumerate(bounds)]
    return Table(
        ("from", "to", "may be lost"),
        [[*cells, Cell(f"{allowed:g}", "statistics.tolerance.value")]],
        "Bounds of the loss",
        frozenset({0, 1, 2}),
    )
