"""Bars of parts: where the time of one image goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelport.report.page.cells import figure
from modelport.report.page.charts.plot import BELOW, RIGHT, Axis, legend, lying, swatch
from modelport.report.page.charts.scale import drawable, short
from modelport.report.page.charts.svg import WIDTH, bar, drawing, fitting, text
from modelport.report.page.parts import Cell, Chart, Table

ROW, BAR = 42.0, 18.0
LEFT = 6.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of each bar: its name, what that means, and how it looks."""

    name: str
    means: str
    look: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One whole and its parts by name; None for what was not told. ``key`` is where the parts stand."""

    name: str
    parts: Mapping[str, float | None]
    key: str = ""

    def of(self, part: Part) -> float:
        """Return what can be drawn of a part: zero of what was not told, or is no such figure."""
        value = self.parts.get(part.name)
        return value if value is not None and drawable(value) and value > 0 else 0.0

    def whole(self, parts: Sequence[Part]) -> float:
        """Return the sum of what can be drawn."""
        return sum(self.of(part) for part in parts)


def stacked(title: str, unit: str, bars: Sequence[Bar], parts: Sequence[Part]) -> Chart | None:
    """Return a lying bar for each whole, its parts one behind the other; None where nothing can be drawn."""
    shown = [one for one in bars if one.whole(parts) > 0]
    if not shown:
        return None
    bottom = ROW * len(shown) + 4
    ends = (LEFT, WIDTH - RIGHT)
    scale, elements = lying(Axis(unit, from_zero=True), [one.whole(parts) for one in shown], ends, bottom, 0.0)
    for row, one in enumerate(shown):
        top, before = row * ROW, 0.0
        words = f"{one.name}: {short(one.whole(parts))} {unit}"
        elements.append(text(LEFT, top + 14, fitting(words, WIDTH - LEFT)))
        for part in parts:
            value = one.of(part)
            start, end = scale(before), scale(before + value)
            # Neighbours are parted by a gap, not by colour alone.
            elements.append(
                bar(start, top + 19, end - start - min(1.0, (end - start) / 3), BAR, part.look, part.opacity)
            )
            before += value
    told = [part for part in parts if any(one.of(part) for one in shown)]
    signs = ((swatch(part.look, part.opacity), f"{part.name}: {part.means}") for part in told)
    drawn, height = legend(bottom + BELOW, signs)
    words = f"{title}, {unit}. " + ". ".join(_said(one, told) for one in shown) + "."
    table = _numbers(title, unit, bars, parts)
    return Chart(title, drawing(bottom + BELOW + height, [*elements, *drawn]), words, table)


def _said(one: Bar, parts: Sequence[Part]) -> str:
    each = ", ".join(f"{part.name} {short(one.of(part))}" for part in parts)
    return f"{one.name}: {each}; {short(one.whole(parts))} in all"


def _numbers(title: str, unit: str, bars: Sequence[Bar], parts: Sequence[Part]) -> Table:
    rows = [
        [
            Cell(one.name),
            *(figure(one.parts.get(part.name), 3, f"{one.key}.{part.name}") for part in parts),
            figure(one.whole(parts), 3),
        ]
        for one in bars
    ]
    header = ("of", *(part.name for part in parts), "in all")
    return Table(header, rows, f"{title}, {unit}", frozenset(range(1, len(header))))
