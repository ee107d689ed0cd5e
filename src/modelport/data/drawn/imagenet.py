"""Small ImageNet-like sets, drawn: pictures whose classes a classifier can mostly, not wholly, tell apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modelport.core.errors import UsageError
from modelport.data.drawn.common import SHAPES, clouds, develop, drawn_into, rgb, scene, to_image
from modelport.data.sets.imagenet import LABEL_FILE

# Streams of one seed: no picture of one is a picture of another.
_VAL, _TRAIN, _LABELS = 0, 1, 2
# Width and height as photographs have them; most are ImageNet's usual 500 × 375.
_SIZES = ((500, 375), (500, 375), (500, 333), (375, 500), (333, 500), (400, 400), (320, 240), (640, 480), (240, 200))
# Every so many pictures one is grey, as a few photographs of ImageNet are.
_GREY_EVERY = 37
_HUE_SPREAD = 0.014
_MAX_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class _Picture:
    """One picture to draw: its place in the set, its class, and the key of its random numbers."""

    file: str
    label: int
    key: tuple[int, int, int]


def draw_imagenet(
    out: Path,
    *,
    count: int = 300,
    train_per_class: int = 20,
    classes: int = 10,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Draw ``count`` validation and ``classes * train_per_class`` training pictures into the new folder ``out``.

    Writes ``val/`` beside ``val_label.txt`` and ``train/`` with class folders; equal arguments give equal files.
    ``progress`` is called for each picture drawn. Returns what was drawn, as JSON values. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written; then and
    when it is interrupted, no half set is left in ``out``.
    """
    _check_counts(count, train_per_class, classes, seed)
    pictures = [*_validation(count, classes, seed), *_training(train_per_class, classes, seed)]
    with drawn_into(out) as folder:
        for picture in pictures:
            _write(folder / picture.file, picture, classes)
            progress()
        lines = (f"{Path(picture.file).name} {picture.label}\n" for picture in pictures[:count])
        (folder / LABEL_FILE).write_text("".join(lines), encoding="utf-8")
    return {"out": str(out), "val": count, "train": len(pictures) - count, "classes": classes, "seed": seed}


def _check_counts(count: int, train_per_class: int, classes: int, seed: int) -> None:
    if not 2 <= classes <= _MAX_CLASSES:
        raise UsageError(f"{classes} classes", f"give between 2 and {_MAX_CLASSES} classes")
    if count < classes:
        raise UsageError(f"a count of {count} for {classes} classes", f"give a --count of at least {classes}")
    if train_per_class < 1:
        raise UsageError(f"{train_per_class} training pictures per class", "give at least 1")
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")


def _validation(count: int, classes: int, seed: int) -> Iterator[_Picture]:
    labels = np.random.default_rng((seed, _LABELS)).permutation(np.arange(count) % classes)
    for index, label in enumerate(labels):
        yield _Picture(f"val/ILSVRC2012_val_{index + 1:08d}.JPEG", int(label), (seed, _VAL, index))


def _training(per_class: int, classes: int, seed: int) -> Iterator[_Picture]:
    for index in range(classes * per_class):
        label, place = divmod(index, per_class)
        folder = f"n{label:08d}"
        yield _Picture(f"train/{folder}/{folder}_{place + 1}.JPEG", label, (seed, _TRAIN, index))


def _write(file: Path, picture: _Picture, classes: int) -> None:
    rng = np.random.default_rng(picture.key)
    image = _draw(picture.label, classes, rng)
    if picture.key[2] % _GREY_EVERY == _GREY_EVERY // 2:
        image = image.convert("L")
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, "JPEG", quality=int(rng.integers(70, 96)))


def _draw(label: int, classes: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture of a class: sky, ground and a few things, in light that differs from picture to picture."""
    width, height = _SIZES[rng.integers(len(_SIZES))]
    width, height = width - int(rng.integers(0, 40)), height - int(rng.integers(0, 40))
    hue = label / classes + rng.normal(0, _HUE_SPREAD)
    # The small picture holds what is smooth; it is blown up, and grain and sharp edges are added at full size.
    image = scene(hue, rng).resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(int(rng.integers(2, 5))):
        _add_thing(image, SHAPES[label % len(SHAPES)], hue, rng)
    return develop(image, rng)


def _add_thing(image: Image.Image, shape: NDArray[np.float64], hue: float, rng: np.random.Generator) -> None:
    """Paint one lit, soft-edged thing of the class's shape, and its shadow, onto the image."""
    width, height = image.size
    radius = min(width, height) * rng.uniform(0.10, 0.26)
    angle, stretch = rng.normal(0, 0.35), rng.uniform(0.75, 1.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = shape * (1 + rng.normal(0, 0.03, shape.shape)) @ turn.T * (radius * stretch, radius / stretch)
    center = np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.35, 0.85) * height])
    tone = rgb(hue + rng.normal(0.12, 0.05), rng.uniform(0.45, 0.85), rng.uniform(0.4, 0.95))
    side = int(radius * 3.2)
    corner = center - side / 2
    box = (int(corner[0]), int(corner[1]))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline + side / 2], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0.7, 1.6)))
    shadow = mask.filter(ImageFilter.GaussianBlur(radius / 6)).point([value * 2 // 5 for value in range(256)])
    image.paste((12, 14, 18), (box[0] + int(radius / 5), box[1] + int(radius / 4)), shadow)
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    light = (0.85 - 0.35 * (x + y) / 2 + 0.08 * clouds(16, 16, 5, rng)[:, :, 0])[:, :, None]
    image.paste(to_image(tone * light * 255).resize((side, side), Image.Resampling.BICUBIC), box, mask)
