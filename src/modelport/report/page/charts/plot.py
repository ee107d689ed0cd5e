"""A frame with two axes: what lines, histograms and scatters stand in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelport.report.page.charts.scale import LARGEST, Scale, labels, log_ticks, thinned, ticks
from modelport.report.page.charts.svg import DIGIT, WIDTH, bar, fitting, line, text

# Units around the plot: above for the title of the upright axis, right for half of the last tick's figure.
TOP, RIGHT, BELOW = 24.0, 14.0, 40.0
PLOT_HEIGHT = 150.0
LEGEND_LINE = 17.0


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis says. ``at``: where ticks are to stand, in place of round figures, and ``words`` what they say."""

    title: str
    log: bool = False
    from_zero: bool = False
    at: tuple[float, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """Where figures lie, and the axes as they are drawn."""

    x: Scale
    y: Scale
    parts: tuple[Markup, ...]

    @property
    def bottom(self) -> float:
        """The place of the lying axis."""
        return self.y.start

    @property
    def height(self) -> float:
        """Of all of it, legend apart."""
        return self.bottom + BELOW


def frame(x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], plot_height: float = PLOT_HEIGHT) -> Frame:
    """Return a frame for these figures, of which there is at least one each, all drawable.

    An axis of ratios holds figures above zero only; where one is not, it is drawn in equal steps.
    """
    up = _ticks(y, ys, 5)
    beside = labels(up)
    left = 8 + DIGIT * max(map(len, beside))
    bottom = TOP + plot_height
    y_scale = _scale(y, ys, up, bottom, TOP)
    parts = [text(0, 12, y.title, "muted")]
    for value, words in zip(up, beside, strict=True):
        place = y_scale(value)
        parts += [line(left, place, WIDTH - RIGHT, place, "grid"), text(left - 5, place + 4, words, "", "end")]
    x_scale, below = lying(x, xs, (left, WIDTH - RIGHT), bottom)
    return Frame(x_scale, y_scale, (*parts, *below))


def lying(
    axis: Axis, values: Sequence[float], ends: tuple[float, float], bottom: float, top: float | None = None
) -> tuple[Scale, list[Markup]]:
    """Return the scale of a lying axis between two places, and the axis as it is drawn at ``bottom``.

    With ``top`` a line goes up from each tick.
    """
    along = _ticks(axis, values, 5)
    scale = _scale(axis, values, along, *ends)
    parts = [line(ends[0], bottom, ends[1], bottom, "axis")]
    places = [scale(value) for value in along]
    words = axis.words or labels(along)
    widest = DIGIT * max(map(len, words))
    for index in thinned(places, widest + 6):
        place = places[index]
        if top is not None:
            parts.append(line(place, top, place, bottom, "grid"))
        parts.append(line(place, bottom, place, bottom + 4, "axis"))
        half = DIGIT * len(words[index]) / 2 + 2
        parts.append(text(min(max(place, half), WIDTH - half), bottom + 17, words[index], "", "middle"))
    parts.append(text((ends[0] + ends[1]) / 2, bottom + 34, axis.title, "muted", "middle"))
    return scale, parts


def legend(top: float, entries: Iterable[tuple[Markup, str]]) -> tuple[list[Markup], float]:
    """Return a line for each entry, a sign of 20 units' width drawn around (10, 0) and words; and the height of all."""
    parts, place = list[Markup](), top
    for sign, words in entries:
        place += LEGEND_LINE
        parts.append(Markup('<g transform="translate(0 {})">{}</g>').format(f"{place - 8:.1f}", sign))
        parts.append(text(26, place - 4, fitting(words, WIDTH - 28)))
    return parts, place - top


def swatch(look: str, opacity: float = 1.0) -> Markup:
    """Return the sign of an area, for a legend."""
    return bar(4, -5, 12, 10, look, opacity)


def _ticks(axis: Axis, values: Sequence[float], count: int) -> list[float]:
    if axis.at:
        return sorted(set(axis.at))
    low, high = min(values), max(values)
    if _is_log(axis, values):
        return log_ticks(low, high)
    return ticks(min(0.0, low), max(0.0, high), count) if axis.from_zero else ticks(low, high, count)


def _scale(axis: Axis, values: Sequence[float], along: Sequence[float], start: float, end: float) -> Scale:
    low, high = min(*values, *along), max(*values, *along)
    log = _is_log(axis, [*values, *along])
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
    if axis.at:  # marks shall not lie on the ends of the frame
        inset = 0.04 * (end - start)
        start, end = start + inset, end - inset
    return Scale(low, high, start, end, log)


def _is_log(axis: Axis, values: Sequence[float]) -> bool:
    return axis.log and min(values) >= 1 / LARGEST
