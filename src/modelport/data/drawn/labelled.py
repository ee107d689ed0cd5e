"""Drawn pictures with a table of their labels: what the sets of the kind ``table`` share."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from modelport.core.errors import UsageError
from modelport.data.drawn.common import clouds, drawn_into, rgb, to_image

# Streams of one seed: no picture of one is a picture of another.
_VAL, _TRAIN = 0, 1
# Drawn this much larger and shrunk, which smooths the edges.
_LARGER = 3
TRAIN = 200

# Draws a picture; returns it with a cell for each column of labels.
Draw = Callable[[np.random.Generator], tuple[Image.Image, Sequence[Any]]]


def draw_table(
    out: Path, columns: Sequence[str], draw: Draw, count: int, train: int, seed: int, progress: Callable[[], None]
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures into the new folder ``out``.

    Writes ``val.csv`` and ``train.csv`` (path and ``columns``) beside ``val/`` and ``train/``; equal arguments give
    equal files. ``progress`` is called for each picture drawn. Returns what was drawn, as JSON values. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written.
    """
    for number, what in ((count, "validation pictures"), (train, "training pictures")):
        if number < 1:
            raise UsageError(f"{number} {what}", "give at least 1")
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")
    with drawn_into(out) as folder:
        for split, stream, number in (("val", _VAL, count), ("train", _TRAIN, train)):
            (folder / split).mkdir()
            with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(["path", *columns])
                for index in range(number):
                    image, cells = draw(np.random.default_rng((seed, stream, index)))
                    name = f"{split}/{index + 1:06d}.png"
                    image.save(folder / name, compress_level=1)
                    table.writerow([name, *cells])
                    progress()
    return {"out": str(out), "val": count, "train": train, "seed": seed}


def backdrop(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Return a cloudy, dull background."""
    tone = rgb(rng.random(), 0.15, rng.uniform(0.35, 0.6))
    return to_image(tone * (1 + 0.12 * clouds(width, height, 5, rng)) * 255)


def stamp(image: Image.Image, outline: Any, center: tuple[float, float], radius: float, tone: Any) -> None:
    """Paint a shape of smooth edges; ``outline`` (points, 2) around the origin, the rest in pixels, ``tone`` 0 to 1."""
    mask = Image.new("L", (image.width * _LARGER, image.height * _LARGER))
    points = (np.asarray(outline) * radius + center) * _LARGER
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points], fill=255)
    mask = mask.resize(image.size, Image.Resampling.BOX)
    image.paste(tuple(int(255 * part) for part in tone), (0, 0), mask)
