"""What a difference between two forms of a unit is, and what it is told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.core.text import plain, some
from modelport.core.values import Array
from modelport.diagnose.trace.reading import Reading
from modelport.diagnose.trace.weights_cause import Became

SHOWN = 60  # characters of a name or a value
LONGEST = 8  # numbers of a list


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of a unit. ``node`` and ``op`` are the candidate's, empty where it has none for it."""

    kind: str
    sentence: str
    mend: str  # what would undo it; empty where nothing does but more digits
    node: str = ""
    op: str = ""
    became: Became | None = None
    size: int = 1  # how many operators it is about
    narrow: bool = False  # whether the candidate's type holds no more of the source's value: more digits mend it


@dataclass(frozen=True, slots=True)
class Sides:
    """Both graphs, which of their tensors are the same, and how weights are stored in the candidate."""

    mine: Reading
    theirs: Reading
    tensors: Mapping[str, str]  # the reference's by the candidate's
    precision: str
    another: Callable[[Array], str] | None = None  # finds a tensor of the reference by its values

    @property
    def lowered(self) -> bool:
        """Whether casts and quantization are what was asked for."""
        return self.precision != "fp32"

    def step(self, tensor: str) -> float:
        """Return by how much a quantizer may have rounded a weight: half a step, and its own rounding; 0 for floats."""
        maker = self.mine.maker.get(tensor)
        if maker is None or self.mine.nodes[maker].op_type != "DequantizeLinear":
            return 0.0
        scale = self.mine.constant_input(self.mine.nodes[maker], 1)
        return 0.0 if scale is None else 0.51 * float(np.abs(scale).max(initial=0.0))


def shown(value: Any) -> str:
    """Return a setting as a person reads it, on one line."""
    if value is None:
        return "not set"
    if isinstance(value, bytes):
        return f"a subgraph of {len(value)} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{some(map(shown, value), LONGEST)}]"
    return plain(value, SHOWN)
