"""Other weights of the same file: the averaged ones against the raw."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from modelport.core.errors import ModelportError
from modelport.core.text import plain
from modelport.diagnose.changes.base import Change
from modelport.recipes.schema import Recipe

# A file of more state dicts is no checkpoint of one model.
MOST = 6


def weight_changes(recipe: Recipe, weights: Path | None) -> Iterator[Change]:
    """Yield each state dict of the file that the recipe does not take; none of a file that holds one.

    ``weights`` is a file of PyTorch's or safetensors; of another kind nothing is yielded.
    """
    if weights is None or recipe.model is None or not weights.is_file():
        return
    from modelport.model.weights.checkpoint import read_weights_file
    from modelport.model.weights.file import decode
    from modelport.model.weights.wrapping import is_averaged, state_dicts

    try:
        found = [place for place in state_dicts(decode(read_weights_file(weights), str(weights))) if place]
    except ModelportError:
        return  # whoever loads it says what is wrong
    if not 1 < len(found) <= MOST:
        return
    for place in found:
        key = ".".join(place)
        told = "averaged" if is_averaged(place) else "raw"
        sentence = f"the figures are those of the {told} weights under '{plain(key, 100)}'"
        mend = f"--checkpoint-key {plain(key, 100)}"
        yield Change("weights", plain(key, 100), sentence, recipe=partial(_keyed, key), mend=mend)


def _keyed(key: str, recipe: Recipe) -> Recipe | None:
    return recipe.with_checkpoint_key(key)
