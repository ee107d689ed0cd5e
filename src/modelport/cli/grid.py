"""Tables that fit the console and lose no word: lines are broken between words, and within one only where they must."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Letters of a word that are kept together, where there is room: a path may be broken.
KEPT = 24
# Between two columns, and at both edges together.
BETWEEN, EDGES = 2, 2


class Grid:
    """A table that takes its columns' widths from its words when it is drawn."""

    def __init__(self, header: Sequence[Any], right: frozenset[int]) -> None:
        """``header``: rich texts; ``right``: the columns whose words are set to the right."""
        self._header, self._right = list(header), right
        self._rows: list[Sequence[Any]] = []

    def add_row(self, *cells: Any) -> None:
        """Add a row of rich texts, one for each column."""
        self._rows.append(cells)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich import box
        from rich.table import Table

        columns = [[str(text) for text in column] for column in zip(self._header, *self._rows, strict=True)]
        room = options.max_width - EDGES - BETWEEN * (len(columns) - 1)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for place, (name, width) in enumerate(zip(self._header, widths(columns, room), strict=True)):
            side: Any = "right" if place in self._right else "left"
            table.add_column(name, justify=side, overflow="fold", width=width)
        for row in self._rows:
            table.add_row(*row)
        yield table


def widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return a width for each column of cells, its header first, in characters; ``room`` is what there is for all.

    The widest becomes narrower first. Words are broken only where not all fit: first those of headers.
    """
    from rich.cells import cell_len

    def longest(cells: Sequence[str]) -> int:
        return min(KEPT, max((cell_len(word) for text in cells for word in text.split()), default=1))

    found = [max(1, *(cell_len(line) for text in column for line in text.split("\n"))) for column in columns]
    whole, below = [longest(column) for column in columns], [longest(column[1:]) for column in columns]
    for least in (whole, below, [1] * len(columns)):
        while sum(found) > room:
            loose = [place for place, width in enumerate(found) if width > least[place]]
            if not loose:
                break
            found[max(loose, key=lambda place: found[place])] -= 1
    return found
