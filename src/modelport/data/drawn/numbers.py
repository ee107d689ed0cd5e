"""Small sets for regression, drawn: where in the picture a ball is, and how large."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelport.data.drawn.common import SHAPES, develop, rgb
from modelport.data.drawn.labelled import TRAIN, backdrop, draw_table, stamp

_SIZE = (96, 72)
COLUMNS = ("x", "y", "radius")


def draw_numbers(
    out: Path, *, count: int = 300, train: int = TRAIN, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures in the layout of the kind ``table`` into ``out``.

    A label is ``x`` and ``y``, the ball's middle as shares of the picture's width and height, and ``radius``, as a
    share of the height. Raises UsageError for counts that make no set, OutputError where ``out`` holds something or
    cannot be written.
    """
    made = draw_table(out, COLUMNS, _draw, count, train, seed, progress)
    return made | {"columns": list(COLUMNS)}


def _draw(rng: np.random.Generator) -> tuple[Image.Image, list[str]]:
    width, height = _SIZE
    image = backdrop(width, height, rng)
    radius = rng.uniform(0.1, 0.3) * height
    center = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    stamp(image, SHAPES[0], center, radius, rgb(rng.normal(0.12, 0.02), 0.9, rng.uniform(0.8, 1.0)))
    label = center[0] / width, center[1] / height, radius / height
    return develop(image, rng), [f"{value:.4f}" for value in label]
