"""Weights of a network that reads texts: calibrated batch norms, and a last layer fitted position by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.closed_form import fit_last_layer
from modelport.tasks.base import own_table
from modelport.tasks.text.ctc import Alphabet, normal
from modelport.tasks.text.recipe_table import Characters

# The share of a character's positions, in its middle, that are to answer it; the others answer the blank, which tells
# equal characters apart.
MIDDLE = 0.3


def fit_texts(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the characters, in closed form.

    Labels do not tell where a character is: each is taken to have an equal part of the width, as in the drawn set.
    Raises UsageError where the layer does not answer the positions of the recipe's output, or these tell no number.
    """
    alphabet, output = Alphabet.of(own_table(recipe, Characters)), recipe.tensors.outputs[0]
    positions = output.shape[1 if alphabet.layout == "NTC" else 2] if len(output.shape) == 3 else None
    if not isinstance(positions, int):
        raise UsageError(f"{recipe.name}: '{output.name}' tells no number of positions", "give it in tensors.outputs")

    def wanted(labels: Sequence[Any], outputs: int) -> Array:
        best = [_path(normal(label), alphabet, positions) for label in labels]
        rows: Array = np.eye(outputs)[np.array(best)]
        return rows

    fit_last_layer(recipe, module, dataset, seed, progress, wanted)


def _path(text: str, alphabet: Alphabet, positions: int) -> list[int]:
    """Return the class that each position is to answer. A character that the alphabet has not is a blank."""
    shift = int(alphabet.blank == 0)
    classes = [
        alphabet.characters.index(character) + shift if character in alphabet.characters else alphabet.blank
        for character in text
    ]
    path = []
    for place in range(positions):
        part, within = divmod((place + 0.5) * len(classes) / positions, 1.0)
        middle = abs(within - 0.5) <= MIDDLE / 2
        path.append(classes[int(part)] if classes and middle else alphabet.blank)
    return path
