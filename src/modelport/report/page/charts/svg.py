"""Elements of a drawing. Numbers become attributes, words are escaped; nothing here takes markup from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from modelport.core.text import plain

# Units across. The page sets text at 12 of them, so that it has 11 px where a drawing is 330 px wide.
WIDTH = 360.0
# The mean width of a character at that size, and that of a digit in a wide type face, for what must fit.
CHARACTER, DIGIT = 6.6, 7.7
MARKS = ("circle", "square", "triangle", "diamond", "wedge", "dash")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "12 4", "1 2")


def drawing(height: float, parts: Iterable[Markup]) -> Markup:
    """Return the whole drawing, of ``WIDTH`` × ``height`` units; readers are told it in words."""
    head = Markup('<svg viewBox="0 0 {} {}" aria-hidden="true" focusable="false">')
    return head.format(_n(WIDTH), _n(height)) + Markup("").join(parts) + Markup("</svg>")


def text(x: float, y: float, words: object, look: str = "", anchor: str = "start") -> Markup:
    """Return words at a place; ``anchor`` is start, middle or end."""
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        _n(x), _n(y), anchor, look, escape(plain(words))
    )


def fitting(words: object, width: float) -> str:
    """Return words cut to what about fits in so many units."""
    return plain(words, max(1, int(width / CHARACTER)))


def line(x1: float, y1: float, x2: float, y2: float, look: str, dash: str = "") -> Markup:
    """Return a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}" stroke-dasharray="{}"/>').format(
        *map(_n, (x1, y1, x2, y2)), look, dash or "none"
    )


def path(points: Sequence[tuple[float, float]], look: str, dash: str = "") -> Markup:
    """Return a line through places."""
    places = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return Markup('<polyline points="{}" class="{}" fill="none" stroke-width="1.75" stroke-dasharray="{}"/>').format(
        places, look, dash or "none"
    )


def bar(x: float, y: float, width: float, height: float, look: str, opacity: float = 1.0) -> Markup:
    """Return a rectangle."""
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}" fill-opacity="{}"/>').format(
        *map(_n, (x, y, max(width, 0.0), max(height, 0.0))), look, _n(opacity)
    )


def mark(x: float, y: float, shape: str, look: str, size: float = 3.5) -> Markup:
    """Return a mark at a place: one of ``MARKS``."""
    if shape == "circle":
        return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(_n(x), _n(y), _n(size), look)
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "triangle": ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
        "diamond": ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
        "wedge": ((0, 1.2), (1.1, -0.9), (-1.1, -0.9)),
        "dash": ((-1, -0.4), (1, -0.4), (1, 0.4), (-1, 0.4)),
    }[shape]
    places = " ".join(f"{_n(x + size * dx)},{_n(y + size * dy)}" for dx, dy in corners)
    return Markup('<polygon points="{}" class="{}"/>').format(places, look)


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
