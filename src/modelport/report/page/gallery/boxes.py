"""Boxes of a line, and a drawing of both sides' over a thumbnail: the engine's solid, the source's dashed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

# Boxes of one side that are drawn: those of a score from ``WORTH`` on, or, where there is none, the best one.
MOST, WORTH = 20, 0.25
# Boxes that reach further out of the image than its own size are cut there.
BEYOND = 1.0


@dataclass(frozen=True, slots=True)
class Box:
    """One box: class, score, and corners in pixels of the image."""

    name: str
    score: float
    corners: tuple[float, float, float, float]  # x1 y1 x2 y2


def boxes_of(rows: Sequence[Sequence[Any]], name: Callable[[object], str]) -> list[Box]:
    """Return the boxes [class, score, x1, y1, x2, y2] that are worth drawing, the best first.

    Raises TypeError or ValueError for rows of another form.
    """
    found = []
    for kind, score, x1, y1, x2, y2 in rows:
        if None not in (score, x1, y1, x2, y2):  # what is not finite
            found.append(Box(name(kind), float(score), (float(x1), float(y1), float(x2), float(y2))))
    found.sort(key=lambda box: -box.score)
    return [box for box in found if box.score >= WORTH][:MOST] or found[:1]


def overlay(engine: Sequence[Box], source: Sequence[Box] | None, width: int, height: int) -> Markup:
    """Return both sides' boxes over an image of ``width`` × ``height`` pixels; it is hidden from readers."""
    paths = [
        Markup('<path class="{}" d="{}"/>').format(look, path)
        for boxes, look in ((source or (), "stroke-source dashed"), (engine, "stroke-engine"))
        if (path := "".join(_path(box.corners, width, height) for box in boxes))
        for look in ("halo", look)  # paper behind the line: one of the two stands out on any ground
    ]
    head = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">')
    return head.format(width, height) + Markup("").join(paths) + Markup("</svg>")


def _path(corners: tuple[float, float, float, float], width: int, height: int) -> str:
    left, top, right, bottom = (
        min(max(value, -BEYOND * side), (1 + BEYOND) * side)
        for value, side in zip(corners, (width, height, width, height), strict=True)
    )
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return ""
    return f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z"
