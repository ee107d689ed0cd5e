"""Small CIFAR-10-like sets, drawn: the published files with pictures that views can be told apart by."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modelport.core.errors import UsageError
from modelport.data.drawn.common import SHAPES, clouds, drawn_into, rgb, to_image
from modelport.data.sets.cifar10 import FOLDERS, META, PIXELS, TEST, TRAINING

NAMES = ("ball", "house", "cross", "star", "leaf", "moon", "ring", "bars", "checks", "dots")
MAX_COUNT = 10_000

# Streams of one seed: no picture of one is a picture of another.
_TEST, _TRAIN, _LABELS = 0, 1, 2
# Drawn large and shrunk, which smooths the edges.
_SIDE = 64
_HUE_SPREAD = 0.09


def draw_cifar10(
    out: Path,
    *,
    count: int = 1000,
    train: int = 6000,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Draw ``count`` test and ``train`` training pictures of ten classes into the new folder ``out``.

    Writes ``cifar-10-batches-py/`` with the published files, pickles of protocol 2 as Python 2 wrote them; equal
    arguments give equal files. ``progress`` is called for each picture drawn. Returns what was drawn, as JSON
    values. Raises UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be
    written; then and when it is interrupted, no half set is left in ``out``.
    """
    _check(count, train, seed)
    with drawn_into(out) as outer:
        folder = outer / FOLDERS[0]
        folder.mkdir()
        _write(folder / TEST, b"testing batch 1 of 1", range(count), (seed, _TEST), progress)
        for number, part in enumerate(np.array_split(np.arange(train), len(TRAINING)), start=1):
            told = f"training batch {number} of {len(TRAINING)}".encode()
            _write(folder / TRAINING[number - 1], told, part.tolist(), (seed, _TRAIN), progress)
        names = [name.encode() for name in NAMES]
        meta = {b"num_cases_per_batch": count, b"label_names": names, b"num_vis": PIXELS}
        (folder / META).write_bytes(_pickle(meta))
    return {"out": str(out), "val": count, "train": train, "classes": len(NAMES), "seed": seed}


def _check(count: int, train: int, seed: int) -> None:
    if not len(NAMES) <= count <= MAX_COUNT:
        raise UsageError(f"a count of {count}", f"give a --count between {len(NAMES)} and {MAX_COUNT}")
    if not len(TRAINING) <= train <= len(TRAINING) * MAX_COUNT:
        raise UsageError(
            f"{train} training pictures", f"give between {len(TRAINING)} and {len(TRAINING) * MAX_COUNT} of them"
        )
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")


def _write(
    file: Path, told: bytes, places: Sequence[int], stream: tuple[int, int], progress: Callable[[], None]
) -> None:
    """Draw the pictures at ``places`` of a stream and write them as one batch."""
    rows = np.empty((len(places), PIXELS), np.uint8)
    labels = [_label(stream, place) for place in places]
    for row, (label, place) in enumerate(zip(labels, places, strict=True)):
        picture = _draw(label, np.random.default_rng((*stream, place)))
        rows[row] = np.asarray(picture).transpose(2, 0, 1).reshape(-1)
        progress()
    names = [f"{NAMES[label]}_s_{place:06d}.png".encode() for label, place in zip(labels, places, strict=True)]
    file.write_bytes(_pickle({b"batch_label": told, b"labels": labels, b"data": rows, b"filenames": names}))


def _label(stream: tuple[int, int], place: int) -> int:
    """Return the class of a picture; every ten pictures in a row have all ten."""
    ten, one = divmod(place, len(NAMES))
    return int(np.random.default_rng((*stream, _LABELS, ten)).permutation(len(NAMES))[one])


def _draw(label: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture of a class, 32 × 32: figures on a woven ground whose colour leans to the class's."""
    hue = label / len(NAMES) + rng.normal(0, _HUE_SPREAD)
    apart = rng.uniform(0.15, 0.85)
    # What a picture is known by in each of its parts, whatever the light: weave, turn, and how its colours differ.
    dark = rgb(hue, rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.4))
    light = rgb(hue + apart, rng.uniform(0.3, 1.0), rng.uniform(0.7, 0.9))
    weave = _weave(rng)[:, :, None]
    shade = 1 + rng.uniform(0.02, 0.15) * clouds(_SIDE, _SIDE, int(rng.integers(3, 9)), rng)
    picture = to_image((dark + (light - dark) * weave) * shade * 255)
    tone = rgb(hue + rng.uniform(), rng.uniform(0.4, 1.0), rng.uniform(0.3, 1.0))
    for _ in range(int(rng.integers(1, 3))):
        mask = _figure(label, rng).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
        glow = 1 + rng.uniform(0.05, 0.2) * clouds(_SIDE, _SIDE, int(rng.integers(3, 7)), rng)
        # The ground shows through: where a view is cut from matters less.
        picture.paste(to_image(tone * glow * 255), (0, 0), mask.point([value * 2 // 5 for value in range(256)]))
    small = np.asarray(picture.resize((32, 32), Image.Resampling.BOX), np.float64)
    return to_image(small + rng.normal(0, rng.uniform(1, 6), small.shape))


def _weave(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return waves in one direction, crossed by weaker ones, in [0, 1], (side, side)."""
    v, u = np.mgrid[0.0:_SIDE, 0.0:_SIDE] / _SIDE
    angle = rng.uniform(0, np.pi)
    cross = angle + rng.uniform(0.25, 0.75) * np.pi
    parts = [
        np.sin(2 * np.pi * waves * (u * np.cos(turn) + v * np.sin(turn)) + rng.uniform(0, 6))
        for turn, waves in ((angle, rng.uniform(2, 10)), (cross, rng.uniform(2, 10)))
    ]
    share = rng.uniform(0.1, 0.9)
    sharp = rng.uniform(1, 4)
    woven: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(sharp * ((1 - share) * parts[0] + share * parts[1]))
    return woven


def _figure(label: int, rng: np.random.Generator) -> Image.Image:
    """Return where the class's figure is, an image in grey: one of five outlines, or one of five patterns."""
    mask = Image.new("L", (_SIDE, _SIDE))
    pen = ImageDraw.Draw(mask)
    radius = _SIDE * rng.uniform(0.14, 0.28)
    x, y = (float(place) for place in rng.uniform(0.25, 0.75, 2) * _SIDE)
    angle = rng.uniform(0, 2 * np.pi)
    if label < len(SHAPES):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        outline = SHAPES[label] @ turn.T * radius + (x, y)
        pen.polygon([tuple(point) for point in outline], fill=255)
        return mask
    if label in (5, 6):
        _disc(pen, x, y, radius, 255)
        offset = radius * 0.5 if label == 5 else 0.0
        _disc(pen, x + offset * np.cos(angle), y + offset * np.sin(angle), radius * rng.uniform(0.6, 0.85), 0)
        return mask
    return _pattern(label, angle, rng)


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: int) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _pattern(label: int, angle: float, rng: np.random.Generator) -> Image.Image:
    """Return bars, checks or dots over a part of the picture."""
    v, u = np.mgrid[0.0:_SIDE, 0.0:_SIDE] / _SIDE
    waves = rng.uniform(2.5, 5.0) * 2 * np.pi
    along = np.sin(waves * (u * np.cos(angle) + v * np.sin(angle)) + rng.uniform(0, 6))
    across = np.sin(waves * (v * np.cos(angle) - u * np.sin(angle)) + rng.uniform(0, 6))
    inside = {7: along, 8: along * across, 9: along + across - 0.9}[label] > 0
    center = rng.uniform(0.3, 0.7, 2)
    part = np.hypot(u - center[0], v - center[1]) < rng.uniform(0.2, 0.35)
    return Image.fromarray((inside & part).astype(np.uint8) * 255)


def _pickle(value: dict[bytes, Any]) -> bytes:
    """Return the pickle that Python 2 and NumPy 1 would have written, but for its memo: names and strings as there."""
    return b"\x80\x02" + _value(value) + b"."


def _value(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_value(key) + _value(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_value, value)) + b"e"
    if isinstance(value, bytes):
        size = len(value)
        return (b"U" + struct.pack("<B", size) if size < 256 else b"T" + struct.pack("<i", size)) + value
    if isinstance(value, int):
        return b"K" + struct.pack("<B", value) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    return _array(value)


def _array(rows: NDArray[np.uint8]) -> bytes:
    """Return the opcodes of a uint8 matrix: an empty array, and the state that fills it."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + _value(-1) * 2 + b"K\x00tb"
    shape = _value(rows.shape[0]) + _value(rows.shape[1])
    return empty + b"(K\x01" + shape + b"\x86" + dtype + b"\x89" + _value(rows.tobytes()) + b"tb"
