"""What some figures need of all rows at once: outputs kept in memory, up to a bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import Array

# 1 GiB of float32: three million rows of 80 scores, half a million embeddings of 512 numbers.
MOST_VALUES = 2**28


class Kept:
    """The rows of one output, as float32 (N, width): the figures of ranks and pairs are not sums over rows."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float32]] = []
        self._values = 0

    def take(self, rows: Array) -> None:
        """Keep rows (n, width) of any float. Raises DataError beyond MOST_VALUES numbers."""
        self._values += rows.size
        if self._values > MOST_VALUES:
            raise DataError(
                f"the outputs of all samples are more than {MOST_VALUES:,} numbers, which is what is kept of them",
                "score fewer samples: --limit",
            )
        self._parts.append(rows.astype(np.float32))  # a copy: a view would hold the whole batch

    def whole(self) -> NDArray[np.float32]:
        """Return all rows in order, (N, width); (0, 0) where none came."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.zeros((0, 0), np.float32)
