"""Figures and verdicts as cells of a table."""

from __future__ import annotations

from modelport.report.page.parts import TONES, Cell

MISSING = "–"
# From here on a figure is told by its first digits.
LARGE = 1e9


def figure(value: float | None, digits: int = 2, key: str = "", tone: str = "") -> Cell:
    """Return a cell with a figure to so many digits behind the point; more where it would be none of them."""
    if value is None:
        return Cell(MISSING)
    plain = value == 0 or 10.0**-digits <= abs(value) < LARGE
    return Cell(f"{value:.{digits}f}" if plain else f"{value:.2g}", key, tone)


def verdict(word: str, key: str = "") -> Cell:
    """Return a cell with the word of a verdict, in its tone."""
    return Cell(word, key, TONES.get(word, ""))
