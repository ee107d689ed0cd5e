"""How many characters lie between two texts."""

from __future__ import annotations

import numpy as np


def edit_distance(got: str, want: str) -> int:
    """Return the Levenshtein distance: insertions, deletions and replacements, each counted 1, by code points.

    https://en.wikipedia.org/wiki/Levenshtein_distance, row by row; as torchmetrics' edit_distance.
    """
    if got == want:
        return 0
    rows, columns = sorted((got, want), key=len)
    letters = np.frombuffer(columns.encode("utf-32-le", "surrogatepass"), np.uint32)
    places = np.arange(len(letters) + 1)
    above = places
    for row, letter in enumerate(rows, start=1):
        # Replaced or deleted; then inserted: each place is at most one more than the one before it.
        best = np.minimum(above[:-1] + (letters != ord(letter)), above[1:] + 1)
        above = np.minimum.accumulate(np.concatenate([[row], best]) - places) + places
    return int(above[-1])
