"""The arithmetic of steps: operations in float32, one after the other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelport.recipes.steps import Divide, Multiply, Normalize, Step, Subtract

# The largest value of each dtype.
LARGEST = {"float32": 3.4028234663852886e38, "float16": 65504.0, "uint8": 255.0}
_APPLY: dict[str, Callable[[float, float], float]] = {
    "divide": operator.truediv,
    "multiply": operator.mul,
    "subtract": operator.sub,
}


class Contradiction(ValueError):
    """Steps that do not go together. Args: ``found``, what is wrong; ``fix``, what to write instead."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}; {fix}")
        self.found, self.fix = found, fix


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation in float32 on every value; ``values`` is one number for all channels, or one for each.

    ``what`` tells the operations of a chain apart.
    """

    name: Literal["divide", "multiply", "subtract"]
    values: tuple[float, ...]
    what: str

    def each(self, channels: int) -> tuple[float, ...]:
        """Return the number of each channel."""
        return self.values if len(self.values) == channels else self.values * channels


def operations(steps: Sequence[Step]) -> tuple[Operation, ...]:
    """Return the arithmetic of the steps, in order: a normalisation is three operations."""
    found: list[Operation] = []
    for place, step in enumerate(steps):
        match step:
            case Normalize():
                found.append(Operation("divide", (step.divide,), "divide"))
                found += [Operation("subtract", step.mean, "mean"), Operation("divide", step.std, "std")]
            case Divide() | Multiply():
                found.append(Operation(step.step, step.by, f"{step.step}_{place}"))
            case Subtract():
                found.append(Operation("subtract", step.mean, f"subtract_{place}"))
    return tuple(found)


def check_range(steps: Sequence[Step], channels: int, dtype: str) -> None:
    """Raise Contradiction where bytes would become infinite in ``dtype``, or on the way there in float32."""
    ends = [(0.0, 255.0)] * channels
    for operation in operations(steps):
        ends = [
            (_APPLY[operation.name](low, value), _APPLY[operation.name](high, value))
            for (low, high), value in zip(ends, operation.each(channels), strict=True)
        ]
        _check_held(ends, "float32")
    _check_held(ends, dtype)


def _check_held(ends: Sequence[tuple[float, float]], dtype: str) -> None:
    far = max(abs(end) for pair in ends for end in pair)
    if far > LARGEST[dtype]:
        raise Contradiction(
            f"the arithmetic reaches {far:.4g}, and {dtype} ends at {LARGEST[dtype]:.6g}",
            "mend its numbers" + (", or write float32" if dtype == "float16" else ""),
        )
