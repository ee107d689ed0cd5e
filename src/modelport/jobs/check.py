"""``check``: hold a checkpoint against a recipe without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelport.core.progress import Progress
from modelport.model.architectures import build_network
from modelport.model.source import read_for
from modelport.model.weights.checkpoint import compare
from modelport.model.weights.health import findings_of, notes_of
from modelport.model.weights.roles import arrays_of, weights_of_state
from modelport.recipes.load import load_recipe
from modelport.stages.source import weights_file


def check_weights(
    recipe_name: str, weights: Path | None, progress: Progress, checkpoint_key: str | None = None
) -> dict[str, Any]:
    """Return what of a checkpoint (or of the state dict in it under a key) fits.

    Raises CheckpointError where it cannot be read safely at all.
    """
    recipe = load_recipe(recipe_name).with_checkpoint_key(checkpoint_key)
    path, notes = weights_file(recipe, weights, progress)
    module = build_network(recipe.network)
    state = read_for(recipe, path, module)
    report = compare(module, state)
    # In the order of the network, in which a batch norm follows its layer.
    placed = {name: state.tensors[name] for name in module.state_dict() if name in state.tensors}
    health = notes_of(findings_of(weights_of_state(arrays_of(placed))))
    return {
        "schema": "modelport.check/1",
        "recipe": recipe.name,
        "path": str(path),
        "sha256": state.sha256,
        "fits": report.fits,
        "tensors": len(state.tensors),
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
        "misshapen": [f"{name}: got {tuple(got)}, want {tuple(want)}" for name, got, want in report.misshapen],
        "miscast": [f"{name}: got {got}, want {want}" for name, got, want in report.miscast],
        "notes": [*notes, *state.notes, *report.notes, *health],
    }
