"""The source model: the recipe's network with the checkpoint in it. Everything else is held against it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.artifacts import Artifact, cache_folder, digest_bytes, digest_file, digest_json, write_artifact
from modelport.core.errors import CheckpointError
from modelport.core.files import open_regular
from modelport.model.architectures import build_network, code_behind
from modelport.model.architectures.own import is_own
from modelport.model.architectures.published_keys import converted
from modelport.model.program import SUFFIX, load_program
from modelport.model.weights.checkpoint import StateDict, load_strictly, plain_tensors, read_checkpoint
from modelport.recipes.schema import Recipe

if TYPE_CHECKING:
    from torch import nn


def read_for(recipe: Recipe, weights: Path, module: nn.Module) -> StateDict:
    """Read a checkpoint as the recipe unwraps it, for its (empty) network ``module``.

    Keys as published become those of timm's network, as timm itself reads them; a background class is cut off where
    the recipe's variant says so.

    Raises CheckpointError where the file is missing, damaged or unsafe.
    """
    state = read_checkpoint(weights, recipe.checkpoint, module.state_dict().keys())
    if named := converted(module, state.tensors):
        state = replace(state, tensors=named[0], notes=(*state.notes, named[1]))
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
    batch: int | None = None  # the only one that a program takes; None: any
    code: str = ""  # what, beside recipe and checkpoint, decides the answers; empty for networks of modelport's own
    _read: tuple[nn.Module, tuple[str, ...]] | None = None

    @property
    def identity(self) -> str:
        """What is kept of it is kept under this: the same for the same answers."""
        return digest_json([self.checkpoint.sha256, self.code]) if self.code else self.checkpoint.sha256

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
            if again.identity != self.identity:
                raise CheckpointError(f"{self.checkpoint.path} was changed while it was used", "run again")
            self._read = again._read
        assert self._read is not None
        return self._read


def load_source(recipe: Recipe, weights: Path) -> SourceModel:
    """Load a checkpoint strictly into the recipe's network.

    Raises CheckpointError where the file is missing, damaged or unsafe, or does not fit in every key and shape,
    RecipeError or UsageError where the network cannot be built. A ``.pt2`` file is network and weights in one.
    """
    if weights.suffix.lower() == SUFFIX:
        program, facts, sha256 = load_program(weights)
        return SourceModel(recipe, Artifact(weights, "program", sha256), facts.batch, _read=(program, ()))
    module = build_network(recipe.network)
    state = read_for(recipe, weights, module)
    report = load_strictly(module, state, str(weights))
    checkpoint, notes = Artifact(weights, "checkpoint", state.sha256), (*state.notes, *report.notes)
    return SourceModel(recipe, checkpoint, code=code_behind(recipe.network, module), _read=(module, notes))


def open_source(recipe: Recipe, weights: Path, sha256: str | None = None) -> SourceModel:
    """Digest a checkpoint and leave the reading to whoever needs the network: where all is cached, nobody does.

    ``sha256`` is its digest where that is known already. Raises CheckpointError where the file is missing.
    """
    # A pipe would be waited for.
    open_regular(weights, error=CheckpointError, fix="check --weights").close()
    if is_own(recipe.network.architecture):
        # What is cached hangs on the user's code, which is known when it was loaded.
        return load_source(recipe, weights)
    try:
        digest = sha256 or digest_file(weights)
    except OSError:
        # Reading it says what is wrong.
        return load_source(recipe, weights)
    return SourceModel(recipe, Artifact(weights, "checkpoint", digest), code=code_behind(recipe.network))


def source_as_built(recipe: Recipe) -> SourceModel:
    """Return the user's own network as its function returns it, its state dict kept in the cache as a checkpoint.

    Raises RecipeError or UsageError where it cannot be built, CheckpointError for a state dict that is no plain one.
    """
    import torch

    module, name = build_network(recipe.network).cpu().requires_grad_(False), recipe.network.architecture
    state = dict(module.state_dict())
    if not state:
        raise CheckpointError(f"{name} returns a network without weights", "return the trained network")
    size = sum(value.nbytes for value in state.values() if isinstance(value, torch.Tensor))
    stream = io.BytesIO()
    torch.save(plain_tensors(state, size, Path(name)), stream)
    content = stream.getvalue()
    path = cache_folder("modules", digest_bytes(content)[:32]) / "state.pth"
    kept = replace(write_artifact(path, "checkpoint", content), stands_for=Path(name))
    return SourceModel(recipe, kept, code=code_behind(recipe.network, module), _read=(module, ()))
