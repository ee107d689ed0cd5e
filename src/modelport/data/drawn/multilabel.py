"""Small sets for sets of classes, drawn: which of five shapes are in the picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelport.data.drawn.common import SHAPES, develop, rgb
from modelport.data.drawn.labelled import TRAIN, backdrop, draw_table, stamp

_SIZE = (96, 72)
_HUES = (0.0, 0.15, 0.35, 0.55, 0.8)
# From seldom to often.
_SHARES = (0.15, 0.25, 0.35, 0.45, 0.55)


def draw_multilabel(
    out: Path, *, count: int = 300, train: int = TRAIN, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures in the layout of the kind ``table`` into ``out``.

    A label is the numbers of the shapes in the picture, ``;`` between them; some pictures hold none. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written.
    """
    made = draw_table(out, ["label"], _draw, count, train, seed, progress)
    return made | {"classes": len(SHAPES)}


def _draw(rng: np.random.Generator) -> tuple[Image.Image, list[str]]:
    image = backdrop(*_SIZE, rng)
    present = np.flatnonzero(rng.random(len(SHAPES)) < _SHARES)
    for label in rng.permutation(present):
        radius = rng.uniform(8, 15)
        center = rng.uniform(radius, _SIZE[0] - radius), rng.uniform(radius, _SIZE[1] - radius)
        tone = rgb(_HUES[label] + rng.normal(0, 0.02), rng.uniform(0.6, 0.95), rng.uniform(0.6, 1.0))
        stamp(image, SHAPES[label], center, radius, tone)
    return develop(image, rng), [";".join(map(str, present))]
