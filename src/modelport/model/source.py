"""The source model: the recipe's network with the checkpoint in it. Everything else is held against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.artifacts import Artifact, digest_file
from modelport.core.errors import CheckpointError
from modelport.core.files import open_regular
from modelport.model.architectures import build_empty
from modelport.model.weights.checkpoint import StateDict, load_strictly, read_checkpoint
from modelport.recipes.schema import Recipe

if TYPE_CHECKING:
    from torch import nn


def read_for(recipe: Recipe, weights: Path, module: nn.Module) -> StateDict:
    """Read a checkpoint as the recipe unwraps it, for its (empty) network ``module``.

    A background class is cut off where the recipe's variant says so.

    Raises CheckpointError where the file is missing, damaged or unsafe.
    """
    state = read_checkpoint(weights, recipe.checkpoint, module.state_dict().keys())
    cut = [name for name in recipe.checkpoint.drop_first_output if name in state.tensors]
    if not cut:
        return state
    tensors = state.tensors | {name: state.tensors[name][1:].clone() for name in cut}
    note = f"the first row of {' and '.join(cut)} was dropped: the background class"
    return replace(state, tensors=tensors, notes=(*state.notes, note))


@dataclass(slots=True)
class SourceModel:
    """A network in evaluation mode, on the CPU, with every tensor from the checkpoint; read when it is first needed."""

    recipe: Recipe
    checkpoint: Artifact
    _read: tuple[nn.Module, tuple[str, ...]] | None = None

    @property
    def module(self) -> nn.Module:
        """The network. Raises CheckpointError as ``load_source`` does."""
        return self._content[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was tolerated while loading."""
        return self._content[1]

    @property
    def _content(self) -> tuple[nn.Module, tuple[str, ...]]:
        if self._read is None:
            again = load_source(self.recipe, self.checkpoint.path)
            if again.checkpoint.sha256 != self.checkpoint.sha256:
                raise CheckpointError(f"{self.checkpoint.path} was changed while it was used", "run again")
            self._read = again._read
        assert self._read is not None
        return self._read


def load_source(recipe: Recipe, weights: Path) -> SourceModel:
    """Load a checkpoint strictly into the recipe's network.

    Raises CheckpointError where the file is missing, damaged or unsafe, or does not fit in every key and shape.
    """
    module = build_empty(recipe.network)
    state = read_for(recipe, weights, module)
    report = load_strictly(module, state, str(weights))
    return SourceModel(recipe, Artifact(weights, "checkpoint", state.sha256), (module, (*state.notes, *report.notes)))


def open_source(recipe: Recipe, weights: Path, sha256: str | None = None) -> SourceModel:
    """Digest a checkpoint and leave the reading to whoever needs the network: where all is cached, nobody does.

    ``sha256`` is its digest where that is known already. Raises CheckpointError where the file is missing.
    """
    # A pipe would be waited for.
    open_regular(weights, error=CheckpointError, fix="check --weights").close()
    try:
        return SourceModel(recipe, Artifact(weights, "checkpoint", sha256 or digest_file(weights)))
    except OSError:
        # Reading it says what is wrong.
        return load_source(recipe, weights)
