"""The source model: the recipe's network with the checkpoint in it. Everything else is held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.artifacts import Artifact
from modelport.model.architectures import build_empty
from modelport.model.checkpoint import StateDict, load_strictly, read_checkpoint
from modelport.recipes.schema import Recipe

if TYPE_CHECKING:
    from torch import nn


def read_for(recipe: Recipe, weights: Path) -> StateDict:
    """Read a checkpoint as the recipe unwraps it, a background class cut off where the recipe's variant says so.

    Raises CheckpointError where the file is missing, damaged or unsafe.
    """
    state = read_checkpoint(weights, recipe.checkpoint)
    cut = [name for name in recipe.checkpoint.drop_first_output if name in state.tensors]
    if not cut:
        return state
    tensors = state.tensors | {name: state.tensors[name][1:].clone() for name in cut}
    note = f"the first row of {' and '.join(cut)} was dropped: the background class"
    return replace(state, tensors=tensors, notes=(*state.notes, note))


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A network in evaluation mode, on the CPU, with every tensor from the checkpoint."""

    recipe: Recipe
    module: nn.Module
    checkpoint: Artifact
    notes: tuple[str, ...]  # what was tolerated while loading


def load_source(recipe: Recipe, weights: Path) -> SourceModel:
    """Load a checkpoint strictly into the recipe's network.

    Raises CheckpointError where the file is missing, damaged or unsafe, or does not fit in every key and shape.
    """
    state = read_for(recipe, weights)
    module = build_empty(recipe.model)
    report = load_strictly(module, state, str(weights))
    return SourceModel(recipe, module, Artifact(weights, "checkpoint", state.sha256), state.notes + report.notes)
