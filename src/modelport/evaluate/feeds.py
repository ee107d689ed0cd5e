"""What two models are fed alike: seeded random arrays, arrays from a file, or plainly prepared images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np

from modelport.core.errors import EngineError, UsageError, raised_as, unknown
from modelport.core.files import open_regular
from modelport.core.text import some
from modelport.core.values import Array, TensorSpec, shape_fits
from modelport.data.sets.unlabelled import open_images
from modelport.data.stream.plain_images import plain_image
from modelport.evaluate.pairing import Pair
from modelport.measure.inputs import drawn

# Sides of an image that a graph with free axes may take, the most usual first.
SIDES = (224, 320, 256, 416, 512, 640, 128, 96, 64, 32)
IMAGE_RANK = 4
CHANNELS = (1, 3, 4)
# Inputs of more bytes than this are a slip.
MOST_BYTES = 4 * 1024**3
# Of a folder, so many images tell as much of two models' arithmetic as all.
MOST_IMAGES = 32

# By the first model's names.
Feed = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Feeds:
    """Arrays for one run after the other. ``about`` tells what they hold, ``notes`` how their sizes were chosen."""

    kind: Literal["random", "file", "images"]
    count: int
    about: str
    shapes: Shapes
    stream: Callable[[], Iterator[Feed]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what a result says of the inputs."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return {"kind": self.kind, "count": self.count, "about": self.about, "shapes": shapes}


def shapes_told(told: Sequence[tuple[str, tuple[int, ...]]], pairs: Sequence[Pair]) -> Shapes:
    """Return the shape that was told of each input.

    Raises UsageError for an unknown input, another rank, or an axis that the models fix to another size.
    """
    known = {pair.first.name: pair for pair in pairs}
    for name, shape in told:
        word = f"--shape {name}:{','.join(map(str, shape))}"
        if name not in known:
            raise UsageError(f"{word}: no input named '{name}'", unknown("inputs", name, known))
        if not shape_fits(shape, known[name].shape):
            wanted = TensorSpec(name, known[name].dtype, known[name].shape)
            raise UsageError(f"{word}: the models take {wanted}", "give a size for each axis that is free")
    return dict(told)


def random_feeds(shapes: Shapes, pairs: Sequence[Pair], count: int, seed: int, notes: tuple[str, ...] = ()) -> Feeds:
    """Return ``count`` sets of arrays, the same for the same seed: standard normal, bytes, or zeros and ones."""
    specs = [TensorSpec(pair.first.name, pair.dtype, shapes[pair.first.name]) for pair in pairs]

    def stream() -> Iterator[Feed]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield {spec.name: drawn(spec, None, rng) for spec in specs}

    about = f"{count} random inputs, standard normal where floats (seed {seed})"
    return Feeds("random", count, about, shapes, stream, notes)


def given_feeds(path: Path, pairs: Sequence[Pair]) -> Feeds:
    """Return the arrays of an ``.npz`` file, named as the first model's inputs.

    Raises UsageError for a file that is none, or for other names, dtypes or shapes than the models take.
    """
    fix = "give an .npz file (numpy.savez) with an array for each input, by its name"
    with (
        open_regular(path, MOST_BYTES, UsageError, fix) as stream,
        raised_as(UsageError, f"{path}: cannot be read", fix, (OSError, ValueError, EOFError, BadZipFile, KeyError)),
    ):
        if sum(entry.file_size for entry in ZipFile(stream).infolist()) > MOST_BYTES:
            raise UsageError(f"{path}: holds more than {MOST_BYTES >> 30} GiB", fix)
        stream.seek(0)
        arrays: dict[str, Array] = dict(np.load(stream, allow_pickle=False))
    wanted = [pair.first.name for pair in pairs]
    if set(arrays) != set(wanted):
        raise UsageError(f"{path}: holds {some(sorted(arrays)) or 'nothing'}, the inputs are {some(wanted)}", fix)
    for pair in pairs:
        spec, array = TensorSpec(pair.first.name, pair.dtype, pair.shape), arrays[pair.first.name]
        if array.dtype != np.dtype(spec.dtype) or not shape_fits(array.shape, spec.shape):
            raise UsageError(
                f"{path}: '{spec.name}' is {array.dtype} {array.shape}, the models take {spec}",
                "save the array in that dtype and shape; nothing is cast or resized",
            )
    shapes = {name: arrays[name].shape for name in wanted}
    return Feeds("file", 1, f"the arrays of {path}", shapes, lambda: iter([arrays]))


def image_feeds(folder: Path, shapes: Shapes, pairs: Sequence[Pair], seed: int, notes: tuple[str, ...]) -> Feeds:
    """Return images of a folder, resized and scaled, one or as many as the batch in each run; drawn where many.

    Raises UsageError where the model has more than one input, or one that takes no image; DataError for no images.
    """
    fix = "give --inputs FILE.npz, arrays that you prepared yourself"
    if len(pairs) != 1:
        raise UsageError(f"--data: the models have {len(pairs)} inputs, an image is one", fix)
    name, dtype = pairs[0].first.name, np.dtype(pairs[0].dtype)
    shape = shapes[name]
    places = image_axes(shape)
    if places is None or shape[places[2]] not in (1, 3) or dtype.kind not in "fu":
        raise UsageError(f"--data: the input {name} {shape} {dtype} takes no image of one or three channels", fix)
    height, width, channels = (shape[place] for place in places)
    samples = open_images(folder)
    order = np.random.default_rng(seed).permutation(len(samples))[:MOST_IMAGES]
    chosen = [samples[int(index)] for index in (order if len(samples) > MOST_IMAGES else range(len(samples)))]
    runs = [chosen[start : start + shape[0]] for start in range(0, len(chosen), shape[0])]

    def stream() -> Iterator[Feed]:
        for run in runs:
            images = [plain_image(one.read(), str(one.path), (height, width), channels) for one in run]
            # A batch that the graph fixes is filled with its first image.
            rows = np.stack(images + images[:1] * (shape[0] - len(images)))
            rows = rows if places[2] == IMAGE_RANK - 1 else rows.transpose(0, 3, 1, 2)
            whole = np.ascontiguousarray(rows)
            yield {name: whole if dtype.kind == "u" else (whole / np.float32(255)).astype(dtype)}

    scaled = "" if dtype.kind == "u" else ", divided by 255"
    colour = "RGB" if channels == 3 else "grey"
    about = (
        f"{len(chosen)} of {len(samples)} images of {folder}, {colour}, resized to {height} × {width} whatever their "
        f"proportions{scaled}: no recipe tells how the model's own were prepared"
    )
    return Feeds("images", len(runs), about, shapes, stream, notes)


def image_axes(shape: Sequence[int | str]) -> tuple[int, int, int] | None:
    """Return where height, width and channels stand in (N, C, H, W) or (N, H, W, C), None for no image."""
    if len(shape) != IMAGE_RANK:
        return None
    return (1, 2, 3) if shape[3] in CHANNELS and shape[1] not in CHANNELS else (2, 3, 1)


def settled(
    pairs: Sequence[Pair], told: Shapes, runs: Callable[[Shapes], None]
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Return the shape of each input, free axes chosen, and what is to be said of the choice.

    A batch is 1, height and width the first of ``SIDES`` with which ``runs`` raises no EngineError, any other axis 1.
    Raises UsageError where none does, or where the inputs would be larger than four GiB.
    """
    tries = [
        {pair.first.name: told.get(pair.first.name) or _with_side(pair.shape, side) for pair in pairs} for side in SIDES
    ]
    free = [pair.first.name for pair in pairs if pair.first.name not in told and _is_free(pair.shape)]
    failed = ""
    for shapes in [shape for place, shape in enumerate(tries) if shape not in tries[:place]]:
        _refuse_too_large(shapes, pairs)
        if not free:
            return shapes, ()
        try:
            runs(shapes)
        except EngineError as error:
            failed = failed or error.found
            continue
        return shapes, tuple(
            f"'{name}' leaves axes free: {shapes[name]} was chosen, --shape {name}:… chooses another" for name in free
        )
    raise UsageError(
        f"no size that was tried for the free axes of {some(free)} runs ({failed})",
        f"give one that the model takes: --shape {free[0]}:1,3,…",
    )


def _is_free(shape: Sequence[int | str]) -> bool:
    return any(isinstance(axis, str) for axis in shape)


def _with_side(shape: Sequence[int | str], side: int) -> tuple[int, ...]:
    sides = (image_axes(shape) or ())[:2]
    return tuple(axis if isinstance(axis, int) else side if place in sides else 1 for place, axis in enumerate(shape))


def _refuse_too_large(shapes: Shapes, pairs: Sequence[Pair]) -> None:
    size = sum(math.prod(shapes[pair.first.name]) * np.dtype(pair.dtype).itemsize for pair in pairs)
    if size > MOST_BYTES:
        raise UsageError(f"the inputs would take {size / 2**30:.3g} GiB", "give smaller axes by --shape")
