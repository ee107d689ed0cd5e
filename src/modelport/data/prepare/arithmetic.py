"""The steps after the pixels: operations in float32, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.recipes.operations import operations
from modelport.recipes.steps import Step

_UFUNCS: dict[str, Callable[..., Any]] = {"divide": np.divide, "multiply": np.multiply, "subtract": np.subtract}


class Arithmetic:
    """A recipe's arithmetic, ready to run. Thread-safe.

    One operation after the other in float32, as the published scripts round: folded constants would differ in the last
    bit.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._operations = [(_UFUNCS[one.name], _constant(one.values)) for one in operations(steps)]

    def into(self, planes: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Write what becomes of uint8 or float32 planes (C, H, W) into ``out``, float32 of the same shape."""
        if not self._operations:
            np.copyto(out, planes)
        for function, values in self._operations:
            function(planes, values, out=out)
            planes = out

    def applied(self, planes: NDArray[Any]) -> NDArray[np.float32]:
        """Return what becomes of planes (..., C, H, W), as float32."""
        made = np.empty(planes.shape, np.float32)
        self.into(planes, made)
        return made


def _constant(values: tuple[float, ...]) -> Any:
    return np.float32(values[0]) if len(values) == 1 else np.array(values, np.float32).reshape(-1, 1, 1)
