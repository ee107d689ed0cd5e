"""Random views of images: SimCLR's augmentation (arXiv:2002.05709, appendix A), many images at a time.

What a view looks like hangs on the seed, the sample's id and the view's number alone: not on batch, order or threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError, RecipeError, UsageError
from modelport.data.prepare import view_steps_8bit as eight_bits
from modelport.data.prepare.view_steps import (
    Floats,
    Planes,
    blurred,
    cropped,
    draw_blur,
    draw_chance,
    draw_crop,
    draw_jitter,
    flipped,
    greyed,
    jittered,
)
from modelport.recipes.steps import (
    ColorJitter,
    DecodeRaw,
    GaussianBlur,
    Normalize,
    RandomFlip,
    RandomGrayscale,
    RandomResizedCrop,
    Step,
    TruncateToInteger,
)

# Images worked on at a time: their floats stay in a core's cache.
CHUNK = 64

Parameters = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Random:
    """A random step, ready to run: how many uniform numbers it takes, what it makes of them, what it does."""

    numbers: int
    draw: Callable[[Floats], Any]
    apply: Callable[[Planes, Any], Planes]
    apply_8bit: Callable[[NDArray[np.uint8], Any], NDArray[np.uint8]]


class Views:
    """A recipe's steps from ``decode_raw`` to ``normalize``, ready to run. Thread-safe; holds no state of a sample.

    ``shape`` is (3, H, W) of a view in float32. With ``truncate_to_integer`` last, a view is made as the
    published script makes it: 8 bits between the steps, cast at the end. With ``pixels`` a view is not normalised
    but rounded to ``dtype`` uint8, ``shape`` (H, W, 3).
    Raises RecipeError for steps that make no views, UsageError where ``pixels`` meets a cast.
    """

    def __init__(self, steps: Sequence[Step], *, pixels: bool = False) -> None:
        self._pixels = pixels
        self._truncate = bool(steps) and isinstance(steps[-1], TruncateToInteger)
        chain = list(steps[:-1] if self._truncate else steps)
        if len(chain) < 2 or not isinstance(chain[0], DecodeRaw) or not isinstance(chain[-1], Normalize):
            raise RecipeError("the steps must begin with decode_raw and end with normalize", "mend the recipe")
        height, width = self._size = chain[0].height, chain[0].width
        self._random: list[_Random] = []
        for step in chain[1:-1]:
            self._random.append(_prepared(step, height, width))
            if isinstance(step, RandomResizedCrop):
                height = width = step.size
        if pixels and self._truncate:
            raise UsageError("uint8 pixels come before the cast of this variant", "leave --variant or uint8 out")
        self.shape = (height, width, 3) if pixels else (3, height, width)
        self.dtype = np.dtype(np.uint8 if pixels else np.float32)
        self._scale = np.float32(255 / chain[-1].divide)
        self._mean = np.array(chain[-1].mean, np.float32).reshape(-1, 1, 1)
        self._std = np.array(chain[-1].std, np.float32).reshape(-1, 1, 1)

    @property
    def random(self) -> bool:
        """Whether two views of an image can differ."""
        return bool(self._random)

    @property
    def bytes_per_image(self) -> int:
        """What ``decode_raw`` wants of a sample's content."""
        return 3 * self._size[0] * self._size[1]

    def make(
        self, pixels: NDArray[np.uint8], keys: Sequence[str], view: int | Sequence[int], seed: int
    ) -> NDArray[Any]:
        """Return the views numbered ``view`` of images, ``dtype`` (N, *shape).

        ``pixels`` uint8 (N, 3 · H · W) planes of red, green and blue, or (N, H, W, 3); ``keys`` the samples' ids.
        """
        return self.apply(pixels, self.draw_parameters(keys, view, seed))

    def draw_parameters(self, keys: Sequence[str], view: int | Sequence[int], seed: int) -> Parameters:
        """Return what each random step draws for these samples: per step, arrays of N rows.

        A crop's are top, left, height, width; a jitter's whether, the order (N, 4) of brightness, contrast,
        saturation and hue, and the factors (N, 4); the blur's are sigmas; a flip's and a grey's whether.
        """
        views = [view] * len(keys) if isinstance(view, int) else view
        counts = [step.numbers for step in self._random]
        numbers = uniforms(keys, views, seed, sum(counts))
        parts = np.split(numbers, np.cumsum(counts)[:-1], axis=1) if counts else []
        return tuple(step.draw(part) for step, part in zip(self._random, parts, strict=True))

    def apply(self, pixels: NDArray[np.uint8], parameters: Parameters) -> NDArray[Any]:
        """Return the views that these parameters make, ``dtype`` (N, *shape). Raises DataError for a wrong shape."""
        height, width = self._size
        if pixels.shape[1:] == (height, width, 3):
            pixels = pixels.transpose(0, 3, 1, 2)
        elif pixels.shape[1:] != (3 * height * width,):
            raise DataError(f"pixels of shape {pixels.shape}", f"give (N, {3 * height * width})")
        planes = pixels.reshape(-1, 3, height, width)
        if self._truncate:
            return self._apply_8bit(planes, parameters)
        out = np.empty((len(planes), *self.shape), self.dtype)
        for start in range(0, len(planes), CHUNK):
            part = slice(start, start + CHUNK)
            # Planes outermost: the colour steps then run over long stretches of memory.
            values = np.divide(planes[part].transpose(1, 0, 2, 3), np.float32(255), dtype=np.float32, order="C")
            for step, drawn in zip(self._random, parameters, strict=True):
                values = step.apply(values, _rows(drawn, part))
            if self._pixels:
                np.rint(values * np.float32(255), out=values)
                out[part] = values.clip(0, 255).transpose(1, 2, 3, 0)
            else:
                self._finish(values.transpose(1, 0, 2, 3), out[part])
        return out

    def _apply_8bit(self, planes: NDArray[np.uint8], parameters: Parameters) -> NDArray[np.float32]:
        images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        for step, drawn in zip(self._random, parameters, strict=True):
            images = step.apply_8bit(images, drawn)
        out = np.empty((len(images), *self.shape), np.float32)
        self._finish(np.divide(images.transpose(0, 3, 1, 2), 255, dtype=np.float32), out)
        return np.trunc(out, out=out)

    def _finish(self, values: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        # In this order plain pixels come out as pixel / divide in float32, to the last bit, where divide is 255.
        np.multiply(values, self._scale, out=out)
        np.subtract(out, self._mean, out=out)
        np.divide(out, self._std, out=out)


def uniforms(keys: Sequence[str], views: Iterable[int], seed: int, count: int) -> Floats:
    """Return ``count`` numbers in [0, 1) for each view, float64 (N, count), hashed from seed, id and view."""
    # A hash and no generator: setting one up for each view would take longer than the view.
    stream = b"".join(
        hashlib.shake_128(f"{seed}\n{view}\n{key}".encode()).digest(8 * count)
        for key, view in zip(keys, views, strict=True)
    )
    words = np.frombuffer(stream, "<u8").reshape(len(keys), count)
    numbers: Floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def without_random_steps(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that the image as it is goes through: ``decode_raw`` and ``normalize``."""
    return [step for step in steps if isinstance(step, DecodeRaw | Normalize)]


def _rows(drawn: Any, part: slice) -> Any:
    return tuple(array[part] for array in drawn) if isinstance(drawn, tuple) else drawn[part]


def _prepared(step: Step, height: int, width: int) -> _Random:
    """Return a step for images of this size. Raises RecipeError for one that is none of a view's."""
    if isinstance(step, RandomResizedCrop):
        size = step.size
        return _Random(
            22,
            lambda numbers: draw_crop(numbers, height, width, step.scale, step.ratio),
            lambda planes, drawn: cropped(planes, drawn, size),
            lambda images, drawn: eight_bits.cropped(images, drawn, size),
        )
    if isinstance(step, RandomFlip):
        return _Random(1, lambda numbers: draw_chance(numbers, step.p), flipped, eight_bits.flipped)
    if isinstance(step, RandomGrayscale):
        return _Random(1, lambda numbers: draw_chance(numbers, step.p), greyed, eight_bits.greyed)
    if isinstance(step, ColorJitter):
        strengths = (step.brightness, step.contrast, step.saturation, step.hue)
        return _Random(9, lambda numbers: draw_jitter(numbers, step.p, strengths), jittered, eight_bits.jittered)
    if isinstance(step, GaussianBlur):
        kernel = step.kernel
        if kernel % 2 == 0 or kernel // 2 >= min(height, width):
            raise RecipeError(f"gaussian_blur with a kernel of {kernel}", "give an odd one, smaller than the image")
        return _Random(
            1,
            lambda numbers: draw_blur(numbers, step.sigma),
            lambda planes, drawn: blurred(planes, drawn, kernel),
            lambda images, drawn: eight_bits.blurred(images, drawn, kernel),
        )
    raise RecipeError(f"step '{step.step}' among the steps of a view", "leave it out")
