"""``fetch``: the recipe's own weights → the cache."""

from __future__ import annotations

from typing import Any

from modelport.core.progress import Progress
from modelport.recipes.load import load_recipe
from modelport.stages.source import fetched_weights


def fetch(recipe: str, progress: Progress) -> dict[str, Any]:
    """Return ``modelport.fetch/1``: where the recipe's weights lie, checked. Raises FetchError."""
    weights = fetched_weights(load_recipe(recipe), progress)
    return {
        "schema": "modelport.fetch/1",
        "path": str(weights.path),
        "sha256": weights.sha256,
        "verified": weights.verified,
    }
