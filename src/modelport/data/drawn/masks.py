"""Small sets for segmentation, drawn: scenes with four kinds of things, and a mask for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import UsageError
from modelport.data.drawn.coco import CATEGORIES, free_corner, paste
from modelport.data.drawn.coco_things import THINGS, draw_thing
from modelport.data.drawn.common import develop, drawn_into, scene

# Streams of one seed: no picture of one is a picture of another.
_VAL, _TRAIN = 0, 1
_MAX_COUNT = 5000
_SIZES = ((200, 150), (200, 150), (150, 200), (160, 160), (213, 120))
# A car, a stop sign, an umbrella and a banana: each of a colour of its own. Class 0 is what lies behind them.
KINDS = (0, 2, 3, 5)
NAMES = ("background", *(dict(CATEGORIES)[THINGS[kind].category] for kind in KINDS))
# As in Pascal VOC: edges, which are partly a thing's, are not counted.
EDGE = 255
_FAINT, _SOLID = 32, 224
_COLOURS = ((0, 0, 0), (40, 90, 220), (220, 30, 40), (160, 60, 200), (250, 210, 40))
_PALETTE = [value for colour in (*_COLOURS, *[(224, 224, 192)] * (256 - len(_COLOURS))) for value in colour]


def draw_masks(
    out: Path, *, count: int = 120, train: int = 24, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures with their masks into the new folder ``out``.

    Writes ``val/`` and ``train/``, each with ``images/`` and ``masks/``, PNGs with a palette; equal arguments give
    equal files. ``progress`` is called for each picture drawn. Returns what was drawn, as JSON values. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written; then and
    when it is interrupted, no half set is left in ``out``.
    """
    for what, number in (("--count", count), ("count of training pictures", train)):
        if not 1 <= number <= _MAX_COUNT:
            raise UsageError(f"a {what} of {number}", f"give between 1 and {_MAX_COUNT}")
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")
    with drawn_into(out) as folder:
        for split, number, stream in (("val", count, _VAL), ("train", train, _TRAIN)):
            for kind in ("images", "masks"):
                (folder / split / kind).mkdir(parents=True)
            for place in range(number):
                _write(folder / split, place, np.random.default_rng((seed, stream, place)))
                progress()
    return {"out": str(out), "val": count, "train": train, "classes": len(NAMES), "names": list(NAMES), "seed": seed}


def _write(folder: Path, place: int, rng: np.random.Generator) -> None:
    image, mask = _draw(place, rng)
    name = f"{place + 1:04d}"
    image.save(folder / "images" / f"{name}.jpg", "JPEG", quality=int(rng.integers(85, 96)))
    numbers = Image.fromarray(mask)
    numbers.putpalette(_PALETTE)
    numbers.save(folder / "masks" / f"{name}.png", "PNG")


def _draw(place: int, rng: np.random.Generator) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Return a picture and its mask (H, W)."""
    width, height = _SIZES[rng.integers(len(_SIZES))]
    ground = scene(float(rng.random()), rng).resize((width, height), Image.Resampling.BICUBIC)
    # Paler than the things, whose colours are what they are known by.
    image = Image.blend(ground, ground.convert("L").convert("RGB"), 0.6)
    mask = np.zeros((height, width), np.uint8)
    # The first goes round all things, so that every one is drawn whatever the number of pictures.
    kinds = [place % len(KINDS), *rng.integers(0, len(KINDS), rng.integers(1, 4)).tolist()]
    found: list[dict[str, Any]] = []
    for kind, side in zip(kinds, sorted(rng.integers(28, 84, len(kinds)).tolist(), reverse=True), strict=True):
        sticker = draw_thing(THINGS[KINDS[kind]], side, rng)
        corner = free_corner(sticker.size, (width, height), found, rng)
        if corner is None:
            continue
        paste(image, sticker, corner, rng)
        alpha = np.asarray(sticker.getchannel("A"))
        part = mask[corner[1] : corner[1] + sticker.height, corner[0] : corner[0] + sticker.width]
        part[alpha >= _FAINT] = EDGE
        part[alpha >= _SOLID] = kind + 1
        found.append({"bbox": [*map(float, corner), *map(float, sticker.size)]})
    return develop(image, rng), mask
