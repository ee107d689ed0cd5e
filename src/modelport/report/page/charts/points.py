"""Figures for a drawing, with the keys that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelport.report.page.charts.scale import drawable

Kind = Literal["engine", "source", "published"]
"""Whose figures they are: each has a colour on all of the page."""


@dataclass(frozen=True, slots=True)
class Point:
    """One figure over another; ``key`` is where ``y`` stands in the result file, ``note`` what is doubtful of it."""

    x: float
    y: float
    key: str = ""
    note: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Figures that belong together."""

    name: str
    points: Sequence[Point]
    kind: Kind = "engine"

    @property
    def drawn(self) -> list[Point]:
        """The points that can be drawn, by ``x``."""
        return sorted((one for one in self.points if drawable(one.x, one.y)), key=lambda one: one.x)


def left_out(series: Iterable[Series]) -> str:
    """Return what is to be said of points that cannot be drawn; nothing where all are."""
    count = sum(len(one.points) - len(one.drawn) for one in series)
    return f" {count} of the figures cannot be drawn: they are no finite numbers." if count else ""
