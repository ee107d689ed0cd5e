"""Exact preprocessing: a recipe's steps, as the published scripts compute them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from modelport.core.errors import BadSampleError, RecipeError
from modelport.core.placement import Placement
from modelport.data.prepare.arithmetic import Arithmetic
from modelport.data.prepare.decoding import MODES, open_image, read_array, refuse_no_alpha, size_as_seen, told_of
from modelport.data.prepare.facts import image_facts
from modelport.data.prepare.fast import fast_crop, quickly_cropped
from modelport.data.prepare.geometry import applied, at_once, most_pixels, turned
from modelport.data.prepare.image_limits import IN_FLIGHT, OR_SKIP
from modelport.data.prepare.interpolation import Picture, need_opencv, size_of
from modelport.data.prepare.letterbox import Box, LateBox, YoloBox
from modelport.data.prepare.placing import ChainBox
from modelport.data.prepare.stage_clock import StageClock
from modelport.recipes.chain import affine, form_of, lowered
from modelport.recipes.operations import Contradiction
from modelport.recipes.steps import Decode, DecodeArray, DecodeRaw, Geometry, Letterbox, Step, TruncateToInteger

Bytes = NDArray[np.uint8]


class Preprocess:
    """A recipe's ``preprocess`` steps, ready to run. Thread-safe; holds no state of a sample.

    ``shape`` is (C, H, W), or (H, W, C) where ``layout`` is NHWC, or None where the steps leave the size to the image;
    ``dtype`` is that of a row.
    With ``fast`` only what the crop keeps is resized, and a JPEG twice as large as needed is decoded at a fraction of
    its size: pixels differ from the published ones. With ``placed`` it is told of every chain where the image lies in
    the input, not of a letterbox alone. ``clock`` is told when an image is decoded. Raises RecipeError for
    steps that do not go together, such as a crop larger than the resize before it can give, or half a letterbox;
    UsageError where ``fast`` has nothing to make faster; ModelportError where the steps need OpenCV and it is missing.
    """

    def __init__(
        self, steps: Sequence[Step], *, fast: bool = False, placed: bool = False, clock: StageClock | None = None
    ) -> None:
        try:
            form = form_of(steps)
            if isinstance(steps[0], DecodeRaw) or any(isinstance(step, TruncateToInteger) for step in steps):
                raise Contradiction("must begin with decode and end with normalize", "mend the recipe")
        except Contradiction as error:
            raise RecipeError(f"preprocess: {error.found}", error.fix) from error
        need_opencv(steps)
        self._decode = steps[0]
        self._geometry = tuple(step for step in lowered(steps) if isinstance(step, Geometry))
        self._late = LateBox.of(steps)
        boxes = (YoloBox(step) for step in steps if isinstance(step, Letterbox))
        self._box: Box | None = self._late or next(boxes, None)
        if placed and self._box is None:
            self._box = ChainBox.of(self._geometry)
        self._fast = fast_crop(self._geometry) if fast else None
        self._decoded_now: Callable[[], None] = _nothing if clock is None else clock.decoded
        self._arithmetic = Arithmetic(steps)
        # Blue first is the order of what is handed out; until then red is.
        color = steps[0].color if isinstance(steps[0], Decode) else "L"
        self._mode, self._blue_first = MODES[color], color == "BGR"
        self._canvas = form.shape("NCHW") if self._late else None
        self.layout, self.dtype, self.shape = form.layout, np.dtype(form.dtype), form.shape()
        # The pixel, per channel, that comes nearest to zero after the normalisation: uint8 (C,).
        self.padding: Bytes = np.rint(affine(steps)[0]).clip(0, 255).astype(np.uint8)

    def pixels(self, content: bytes, name: str) -> Bytes:
        """Return uint8 (H, W, C): decoded, resized and cropped, neither normalised nor padded with zeros yet.

        ``name`` tells the sample in errors. Raises BadSampleError where the bytes are no sound image.
        """
        return self._decoded(content, name)[0]

    def picture(self, content: bytes, name: str) -> Picture:
        """Return the image decoded and not shaped yet, for ``pixels_of``; any chain with the same first step takes it.

        Raises BadSampleError where the bytes are no sound image.
        """
        with told_of(name):
            if isinstance(self._decode, DecodeArray):
                return read_array(content, self._decode.channels, name)
            with open_image(content, name) as opened, IN_FLIGHT.share(self._most_pixels(opened.size, name)):
                image = ImageOps.exif_transpose(opened) if self._rotates else opened
                if self._mode == "RGBA":
                    refuse_no_alpha(image, name)
                return image.convert(self._mode)  # a copy, decoded, where it has the mode already

    def pixels_of(self, picture: Picture, name: str) -> Bytes:
        """Return what ``pixels`` returns, of an image that was decoded already. Raises BadSampleError."""
        with told_of(name), IN_FLIGHT.share(self._most_pixels(size_of(picture), name)):
            if isinstance(picture, Image.Image):
                return self._of_image(picture, name)[0]
            return self._shaped(picture, name)[0]

    def place(self, content: bytes, name: str) -> Placement | None:
        """Return what ``into`` returns, from the image's header alone: no pixel is decoded.

        Raises BadSampleError where the bytes are no image.
        """
        if self._box is None:
            return None
        with told_of(name):
            if isinstance(self._decode, DecodeArray):
                return self._box.place(*size_of(read_array(content, self._decode.channels, name)), name)[0]
            with open_image(content, name) as image:
                return self._box.place(*(size_as_seen(image) if self._rotates else image.size), name)[0]

    def into(
        self, content: bytes, name: str, out: NDArray[Any], facts: dict[str, Any] | None = None
    ) -> Placement | None:
        """Write the normalised image into ``out``, of ``dtype`` and ``layout``, such as one row of a batch.

        Returns where the image lies in ``out`` if it is padded there or ``placed``, else None; ``facts`` takes what
        ``image_facts`` tells of it. Raises BadSampleError where the bytes are no sound image, or one of another size
        than ``out``.
        """
        pixels, placement = self._decoded(content, name, facts)
        planes = pixels.transpose(2, 0, 1)
        target = out.transpose(2, 0, 1) if self.layout == "NHWC" else out
        self._check_size(self._canvas or planes.shape, target.shape, name)
        self._fill(planes, placement, target)
        return placement

    def pixels_into(
        self, content: bytes, name: str, out: Bytes, facts: dict[str, Any] | None = None
    ) -> Placement | None:
        """Write the image before its normalisation into ``out``, uint8 (H, W, C), for a graph that normalises.

        What the recipe pads with zeros after the normalisation is ``padding`` here. Returns, tells and raises as
        ``into``.
        """
        pixels, placement = self._decoded(content, name, facts)
        height, width, channels = pixels.shape
        if placement is not None and self._late is not None:
            out[:] = self.padding
            out = out[placement.pad_top : placement.pad_top + height, placement.pad_left : placement.pad_left + width]
        self._check_size((channels, height, width), (out.shape[2], *out.shape[:2]), name)
        out[:] = pixels
        return placement

    def tensor(self, content: bytes, name: str) -> NDArray[Any]:
        """Return the normalised image as a new array of ``dtype`` and ``layout``; raises what ``pixels`` raises."""
        pixels, placement = self._decoded(content, name)
        planes = pixels.transpose(2, 0, 1)
        channels, height, width = self._canvas or planes.shape
        out = np.empty((height, width, channels) if self.layout == "NHWC" else (channels, height, width), self.dtype)
        self._fill(planes, placement, out.transpose(2, 0, 1) if self.layout == "NHWC" else out)
        return out

    @property
    def _rotates(self) -> bool:
        return isinstance(self._decode, Decode) and self._decode.exif_rotation == "apply"

    @staticmethod
    def _check_size(have: tuple[int, ...], want: tuple[int, ...], name: str) -> None:
        if have != want:
            raise BadSampleError(
                f"{name}: is {_size_text(have, want)} after preprocessing, the model wants {_size_text(want, have)}",
                "add resize_shorter and center_crop to the recipe, " + OR_SKIP,
            )

    def _decoded(
        self, content: bytes, name: str, facts: dict[str, Any] | None = None
    ) -> tuple[Bytes, Placement | None]:
        """Return what ``pixels`` returns, and where a letterbox puts it; ``facts`` as ``into`` does."""
        with told_of(name):
            if isinstance(self._decode, DecodeArray):
                array = read_array(content, self._decode.channels, name)
                self._decoded_now()
                self._most_pixels(size_of(array), name)
                return self._told(size_of(array), self._shaped(array, name), facts)
            with open_image(content, name) as opened, IN_FLIGHT.share(self._most_pixels(opened.size, name)):
                if self._fast is None:
                    opened.load()
                    self._decoded_now()
                image = ImageOps.exif_transpose(opened) if self._rotates else opened
                size = image.size  # as the file has it: the quick way decodes fewer pixels
                return self._told(size, self._of_image(image, name), facts)

    def _of_image(self, image: Image.Image, name: str) -> tuple[Bytes, Placement | None]:
        if (made := self._in_one(image, name)) is not None:
            return (made[0][:, :, ::-1] if self._blue_first else made[0]), made[1]
        image = image if image.mode == self._mode else image.convert(self._mode)
        return self._shaped(turned(image) if self._blue_first else image, name)

    @staticmethod
    def _told(
        size: tuple[int, int], found: tuple[Bytes, Placement | None], facts: dict[str, Any] | None
    ) -> tuple[Bytes, Placement | None]:
        if facts is not None:
            facts |= image_facts(size, found[0])
        return found

    def _in_one(self, image: Image.Image, name: str) -> tuple[Bytes, Placement | None] | None:
        """Return what all steps make of an image, red first, where something makes it in one go; None elsewhere."""
        if self._mode == "RGBA":
            refuse_no_alpha(image, name)
        if self._fast is not None:
            cropped_quickly = quickly_cropped(image, *self._fast, self._mode, self._decoded_now)
            return _pixels(cropped_quickly), self._placed(image.size, name)
        if self._late is not None:
            return self._late.resized(image, name)
        if self._mode == "RGB" and (cropped := at_once(self._geometry, image)) is not None:
            return cropped, self._placed(image.size, name)
        return None

    def _placed(self, size: tuple[int, int], name: str) -> Placement | None:
        return None if self._box is None else self._box.place(*size, name)[0]

    def _shaped(self, picture: Picture, name: str) -> tuple[Bytes, Placement | None]:
        """Take a picture, its channels in the recipe's order, through the steps."""
        placement = self._placed(size_of(picture), name)
        for step in self._geometry:
            picture = applied(step, picture, self._blue_first, name)
        return _pixels(picture), placement

    def _most_pixels(self, size: tuple[int, int], name: str) -> int:
        """Return how many pixels an image of this (width, height) has at its largest, as found and resized.

        Raises BadSampleError where a step could not take it; a rotation by EXIF changes none of that.
        """
        if self._box is not None:
            self._box.check(*size, name)
        return most_pixels(self._geometry, size, name)

    def _fill(self, planes: Bytes, placement: Placement | None, out: NDArray[Any]) -> None:
        """Write the normalised planes (C, h, w) to their place in ``out`` (C, H, W), zeros around them."""
        if placement is not None and self._late is not None:
            out.fill(0)
            _, height, width = planes.shape
            top, left = placement.pad_top, placement.pad_left
            out = out[:, top : top + height, left : left + width]
        if self.dtype == np.float32:
            self._arithmetic.into(planes, out)
        elif self.dtype == np.float16:
            out[...] = self._arithmetic.applied(planes)
        else:
            out[...] = planes


def _nothing() -> None:
    pass


def _pixels(picture: Picture) -> Bytes:
    """Return uint8 (H, W, C)."""
    pixels: Bytes = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _size_text(shape: tuple[int, ...], other: tuple[int, ...]) -> str:
    """Return the size of planes (C, H, W), with their number where that is not the other's."""
    return f"{shape[2]} × {shape[1]}" + (f" of {shape[0]} channels" if shape[0] != other[0] else "")
