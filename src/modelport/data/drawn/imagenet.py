"""Small ImageNet-like sets, drawn: pictures whose classes a classifier can mostly, not wholly, tell apart."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modelport.core.artifacts import cannot_write
from modelport.core.errors import OutputError, UsageError
from modelport.core.scratch import scratch_folder
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
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Draw ``count`` validation and ``classes * train_per_class`` training pictures into the new folder ``out``.

    Writes ``val/`` beside ``val_label.txt`` and ``train/`` with class folders; equal arguments give equal files.
    ``progress`` is called with the pictures drawn and their total. Returns what was drawn, as JSON values. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written; then and
    when it is interrupted, no half set is left in ``out``.
    """
    _check_counts(count, train_per_class, classes, seed)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists and is no empty folder", "choose another --out, or remove it")
    pictures = [*_validation(count, classes, seed), *_training(train_per_class, classes, seed)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent, out.name) as aside:
            # A folder inside, because the outer one is closed to other users.
            folder = aside / "set"
            for done, picture in enumerate(pictures, start=1):
                _write(folder / picture.file, picture, classes)
                if progress is not None:
                    progress(done, len(pictures))
            lines = (f"{Path(picture.file).name} {picture.label}\n" for picture in pictures[:count])
            (folder / LABEL_FILE).write_text("".join(lines), encoding="utf-8")
            if out.exists():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        raise cannot_write(out, error) from error
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
    image = _scene(hue, rng).resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(int(rng.integers(2, 5))):
        _add_thing(image, _SHAPES[label % len(_SHAPES)], hue, rng)
    return _develop(image, rng)


def _scene(hue: float, rng: np.random.Generator) -> Image.Image:
    """Return sky over ground with cloudy shades, 48 × 36."""
    height, width = 36, 48
    y = np.linspace(0, 1, height)[:, None, None]
    horizon, slope = rng.uniform(0.45, 0.8), rng.normal(0, 0.15)
    x = np.linspace(-0.5, 0.5, width)[None, :, None]
    ground = 1 / (1 + np.exp(-(y - horizon - slope * x - 0.05 * _clouds(width, height, 6, rng)) * 60))
    high, low = _rgb(hue, 0.25, 0.95), _rgb(hue + rng.normal(0, 0.02), 0.55, 0.8)
    near, far = _rgb(hue + 0.06, 0.65, 0.3), _rgb(hue + rng.normal(0, 0.02), 0.5, 0.55)
    sky = high + (low - high) * y / horizon
    earth = far + (near - far) * (y - horizon) / (1 - horizon)
    shade = 1 + 0.10 * _clouds(width, height, 5, rng) + 0.06 * _clouds(width, height, 12, rng)
    return _image((sky * (1 - ground) + earth * ground) * shade * 255)


def _add_thing(image: Image.Image, shape: NDArray[np.float64], hue: float, rng: np.random.Generator) -> None:
    """Paint one lit, soft-edged thing of the class's shape, and its shadow, onto the image."""
    width, height = image.size
    radius = min(width, height) * rng.uniform(0.10, 0.26)
    angle, stretch = rng.normal(0, 0.35), rng.uniform(0.75, 1.3)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline = shape * (1 + rng.normal(0, 0.03, shape.shape)) @ turn.T * (radius * stretch, radius / stretch)
    center = np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.35, 0.85) * height])
    tone = _rgb(hue + rng.normal(0.12, 0.05), rng.uniform(0.45, 0.85), rng.uniform(0.4, 0.95))
    side = int(radius * 3.2)
    corner = center - side / 2
    box = (int(corner[0]), int(corner[1]))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline + side / 2], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(rng.uniform(0.7, 1.6)))
    shadow = mask.filter(ImageFilter.GaussianBlur(radius / 6)).point([value * 2 // 5 for value in range(256)])
    image.paste((12, 14, 18), (box[0] + int(radius / 5), box[1] + int(radius / 4)), shadow)
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    light = (0.85 - 0.35 * (x + y) / 2 + 0.08 * _clouds(16, 16, 5, rng)[:, :, 0])[:, :, None]
    image.paste(_image(tone * light * 255).resize((side, side), Image.Resampling.BICUBIC), box, mask)


def _develop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the image with exposure, white balance and film grain."""
    width, height = image.size
    gain = rng.uniform(0.8, 1.15) * rng.normal(1, 0.025, 3)
    # Grain is spread by half a pixel's blow-up, as a camera's is by its demosaicing.
    grain = rng.normal(0, rng.uniform(2, 9), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    fine = np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BILINEAR))
    return _image(np.asarray(image, np.float32) * gain.astype(np.float32) + fine[:, :, None])


def _clouds(width: int, height: int, cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise of unit variance at its nodes, (height, width, 1)."""
    nodes = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    smooth = Image.fromarray(nodes).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64)[:, :, None]


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _image(values: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _polygon(*radii: float, points: int = 48) -> NDArray[np.float64]:
    """Return an outline around the origin whose distance runs through ``radii``, (points, 2)."""
    steps = np.arange(points) * len(radii) / points
    distance = np.interp(steps, np.arange(len(radii) + 1), [*radii, radii[0]])
    angle = 2 * np.pi * np.arange(points) / points - np.pi / 2
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


# Ball, house, cross, star, leaf: what the things of a class look like.
_SHAPES = (
    _polygon(1.0),
    np.array([[0.0, -1.0], [0.9, -0.3], [0.9, 0.9], [-0.9, 0.9], [-0.9, -0.3]]),
    _polygon(1.0, 0.4, 1.0, 0.4, 1.0, 0.4, 1.0, 0.4),
    _polygon(*[1.0, 0.45] * 5),
    _polygon(1.2, 0.5, 0.35, 0.5, 1.2, 0.5, 0.35, 0.5),
)
