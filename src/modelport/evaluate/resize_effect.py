"""What a quicker resize does to pixels and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.errors import BadSampleError
from modelport.core.values import Sample
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.schema import Recipe
from modelport.tasks.scoring import Figures

# Images that are prepared both ways.
COMPARED = 64


def fast_effect(recipe: Recipe, samples: Sequence[Sample], figures: Figures) -> dict[str, Any]:
    """Return the pixel differences over the first images, and each figure less the source model's.

    The source model always sees the published pixels. Differences are in levels of 255; None where nothing is known.
    """
    exact, fast = Preprocess(recipe.preprocess), Preprocess(recipe.preprocess, fast=True)
    largest, total, count, compared = 0, 0.0, 0, 0
    for sample in samples[:COMPARED]:
        try:
            content = sample.read()
            ours, theirs = (way.pixels(content, sample.id).astype(np.int16) for way in (fast, exact))
        except BadSampleError:
            continue  # the run counted it as skipped
        apart = np.abs(ours - theirs)
        largest, total, count = max(largest, int(apart.max())), total + float(apart.sum()), count + apart.size
        compared += 1
    source = figures.source or {}
    return {
        "images_compared": compared,
        "largest_pixel_difference": largest if compared else None,
        "mean_pixel_difference": total / count if count else None,
        "effect": {name: score.value - source[name].value for name, score in figures.metrics.items() if name in source},
    }


def effect_note(effect: dict[str, Any]) -> str:
    """Return the finding in a line."""
    if not effect["images_compared"]:
        return "resized the quicker way; no image could be compared"
    text = (
        f"resized the quicker way: pixels differ by up to {effect['largest_pixel_difference']} levels of 255, "
        f"{effect['mean_pixel_difference']:.2f} on average ({effect['images_compared']} images)"
    )
    changes = ", ".join(f"{name} {change:+.2f}" for name, change in effect["effect"].items())
    return f"{text}; against the source model on the published pixels: {changes}" if changes else text
