"""What a single change is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelport.core.placement import Placement
from modelport.core.values import Array, Tensors
from modelport.recipes.schema import Recipe

# A change of the recipe. Returns None where it says nothing to this recipe (no step of that kind).
OfRecipe = Callable[[Recipe], Recipe | None]
# Of the prepared rows, float32 or uint8 (N, …), by the input's name.
OfInput = Callable[[Array], Array]
# Of the model's outputs, by name, rows first.
OfOutputs = Callable[[Tensors], Tensors]
# Of one target of the data set; None where what the label becomes is no class.
OfTarget = Callable[[Any], Any]
# Of where an image lies in the network's input.
OfPlacement = Callable[[Placement], Placement]


@dataclass(frozen=True, slots=True)
class Change:
    """One departure from a recipe, its inputs, outputs or labels; one of the callables is given.

    ``kind`` is the setting ("channel_order"), ``value`` what it becomes ("BGR").

    Changes of one kind exclude each other.
    """

    kind: str
    value: str
    sentence: str  # what it would mean if it explained the gap: "the model takes BGR; the recipe gives RGB"
    recipe: OfRecipe | None = None
    inputs: OfInput | None = None
    outputs: OfOutputs | None = None
    target: OfTarget | None = None
    placement: OfPlacement | None = None
    mend: str = ""  # what is to be done, where no line of a recipe says it


AS_IT_IS = Change("", "as it is", "the recipe as it is")
"""No change: what others are held against."""
