"""Rows of numbers in the lines of predictions.jsonl: float32, little-endian, base64. It is exact and cheap to write."""

from __future__ import annotations

from base64 import b64decode, b64encode

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array

# Numbers of one side that a run writes: 22 MB of text. Eight thousand vectors of 512 numbers, 52,000 rows of 80 scores.
MOST_PACKED = 2**22


class Packer:
    """Packs rows as they come, until they are MOST_PACKED numbers: predictions.jsonl does not grow with every set."""

    def __init__(self) -> None:
        self._left = MOST_PACKED

    def pack(self, rows: Array) -> list[str | None]:
        """Return each row (n, width) as text, None for those that there is no room for, and for all after them."""
        wide = np.ascontiguousarray(rows, "<f4")
        whole = wide.size <= self._left
        room = len(wide) if whole else self._left // wide[0].size
        self._left = self._left - wide.size if whole else 0
        return [b64encode(row).decode("ascii") for row in wide[:room]] + [None] * (len(wide) - room)


def unpacked(text: str) -> NDArray[np.float32]:
    """Return the numbers of a packed row, (width,). Raises ValueError or TypeError for what is none."""
    return np.frombuffer(b64decode(text, validate=True), "<f4").astype(np.float32)
