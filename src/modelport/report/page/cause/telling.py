"""What traces, probes and power runs are told with alike."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.core.text import plain
from modelport.report.page.parts import Cell

MOST_TEXT, MOST_NOTES = 600, 30


def cut(text: object) -> str:
    """Return a sentence of others on one line, of at most 600 characters."""
    return plain(text, MOST_TEXT)


def notes(file: str, told: Sequence[object]) -> list[Cell]:
    """Return the notes of a file, 30 at most, the last of which says how many more there are."""
    found = [Cell(cut(note), f"{file}: notes.{place}") for place, note in enumerate(told[:MOST_NOTES])]
    more = len(told) - len(found)
    return [*found, Cell(f"{more} more are in {file}")] if more else found
