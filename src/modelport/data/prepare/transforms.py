"""Exact preprocessing: a recipe's steps, as the published scripts compute them, bit for bit."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    UnidentifiedImageError,
    # Registers itself; left to the first sample that needs it, Pillow would load all its plugins in a worker thread.
    WebPImagePlugin,  # noqa: F401
)

from modelport.core.errors import BadSampleError, ModelportError, RecipeError
from modelport.core.placement import Placement
from modelport.data.prepare.fast import RESAMPLING, fast_crop, quickly_cropped, resized_size
from modelport.data.prepare.image_limits import (
    FORMATS,
    IN_FLIGHT,
    OR_SKIP,
    check_area,
    check_work,
    out_of_memory,
    ran_out,
)
from modelport.data.prepare.letterbox import Letterbox
from modelport.data.prepare.resampling import resampler, takes
from modelport.recipes.steps import CenterCrop, Decode, Normalize, PadCenter, ResizeShorter, Step

# The EXIF tag, and the values of it that swap width and height.
_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)
# The form in which ``warnings`` holds a filter: everything that Pillow's own modules say.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


class Preprocess:
    """A recipe's ``preprocess`` steps, ready to run. Thread-safe; holds no state of a sample.

    ``shape`` is (3, H, W), or None where the steps leave the size to the image.
    With ``fast`` only what the crop keeps is resized, and a JPEG twice as large as needed is decoded at a fraction of
    its size: pixels differ from the published ones. Raises RecipeError where a crop is larger than the resize before it
    can give, or for half a letterbox; UsageError where ``fast`` has nothing to make faster; ModelportError where the
    steps need OpenCV and it is missing.
    """

    def __init__(self, steps: Sequence[Step], *, fast: bool = False) -> None:
        after = [steps[-1]] if isinstance(steps[-1], PadCenter) else []
        chain = steps[: len(steps) - len(after)]
        decode, geometry, normalize = chain[0], chain[1:-1], chain[-1]
        if not isinstance(decode, Decode) or not isinstance(normalize, Normalize):
            raise RecipeError("preprocess must begin with decode and end with normalize", "mend the recipe")
        self._decode = decode
        self._geometry = tuple(geometry)
        self._letterbox = Letterbox.of(geometry, after)
        self._fast = fast_crop(self._geometry) if fast else None
        self.shape = _fixed_shape(self._geometry) if self._letterbox is None else self._letterbox.shape
        self._divide = np.float32(normalize.divide)
        self._mean = np.array(normalize.mean, np.float32).reshape(3, 1, 1)
        self._std = np.array(normalize.std, np.float32).reshape(3, 1, 1)

    def pixels(self, content: bytes, name: str) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3): decoded, resized and cropped, neither normalised nor padded yet.

        ``name`` tells the sample in errors. Raises BadSampleError where the bytes are no sound image.
        """
        return self._decoded(content, name)[0]

    def place(self, content: bytes, name: str) -> Placement | None:
        """Return what ``into`` returns, from the image's header alone: no pixel is decoded.

        Raises BadSampleError where the bytes are no image.
        """
        if self._letterbox is None:
            return None
        try:
            with _open(content, name) as image:
                width, height = image.size
                if self._decode.exif_rotation == "apply" and image.getexif().get(_ORIENTATION, 1) in _LYING:
                    width, height = height, width
                return self._letterbox.place(width, height, name)[0]
        except ModelportError:
            raise
        except Exception as error:
            if ran_out(error):
                raise out_of_memory(name) from error
            raise BadSampleError(f"{name}: cannot be decoded: {_reason(error)}", OR_SKIP) from error

    def into(self, content: bytes, name: str, out: NDArray[np.float32]) -> Placement | None:
        """Write the normalised image into ``out``, float32 (3, H, W), such as one row of a batch.

        Returns where the image lies in ``out`` if it is padded there, else None. Raises BadSampleError where the
        bytes are no sound image, or one of another size than ``out``.
        """
        pixels, placement = self._decoded(content, name)
        planes = pixels.transpose(2, 0, 1)
        self._check_size(planes.shape if self._letterbox is None else self._letterbox.shape, out.shape, name)
        self._fill(planes, placement, out)
        return placement

    def pixels_into(self, content: bytes, name: str, out: NDArray[np.uint8]) -> Placement | None:
        """Write the image before its normalisation into ``out``, uint8 (H, W, 3), for a graph that normalises.

        What the recipe pads with zeros after the normalisation is ``padding`` here. Returns and raises as ``into``.
        """
        pixels, placement = self._decoded(content, name)
        height, width, _ = pixels.shape
        if placement is not None:
            out[:] = self.padding
            out = out[placement.pad_top : placement.pad_top + height, placement.pad_left : placement.pad_left + width]
        self._check_size((3, height, width), (3, *out.shape[:2]), name)
        out[:] = pixels
        return placement

    @property
    def padding(self) -> NDArray[np.uint8]:
        """The pixel, per channel, that comes nearest to zero after the normalisation: uint8 (3,)."""
        pixel: NDArray[np.uint8] = np.rint(self._mean.reshape(3) * self._divide).clip(0, 255).astype(np.uint8)
        return pixel

    def tensor(self, content: bytes, name: str) -> NDArray[np.float32]:
        """Return the normalised image as a new float32 (3, H, W); raises what ``pixels`` raises."""
        pixels, placement = self._decoded(content, name)
        planes = pixels.transpose(2, 0, 1)
        out = np.empty(planes.shape if self._letterbox is None else self._letterbox.shape, np.float32)
        self._fill(planes, placement, out)
        return out

    @staticmethod
    def _check_size(have: tuple[int, ...], want: tuple[int, ...], name: str) -> None:
        if have != want:
            raise BadSampleError(
                f"{name}: is {_size_text(have)} after preprocessing, the model wants {_size_text(want)}",
                "add resize_shorter and center_crop to the recipe, " + OR_SKIP,
            )

    def _decoded(self, content: bytes, name: str) -> tuple[NDArray[np.uint8], Placement | None]:
        """Return what ``pixels`` returns, and where a letterbox puts it."""
        try:
            with _open(content, name) as opened, IN_FLIGHT.share(self._most_pixels(opened.size, name)):
                image = ImageOps.exif_transpose(opened) if self._decode.exif_rotation == "apply" else opened
                if self._fast is not None:
                    return np.asarray(quickly_cropped(image, *self._fast, self._decode.color)), None
                if self._letterbox is not None:
                    return self._letterbox.resized(image, name)
                if self._decode.color == "RGB" and (cropped := _at_once(self._geometry, image)) is not None:
                    return cropped, None
                image = image if image.mode == self._decode.color else image.convert(self._decode.color)
                for step in self._geometry:
                    image = _apply(step, image)
                return np.asarray(image), None
        except ModelportError:
            raise
        # Pillow meets damage with whatever its parser stumbled over: OSError, SyntaxError, struct.error, IndexError...
        except Exception as error:
            if ran_out(error):
                raise out_of_memory(name) from error
            raise BadSampleError(f"{name}: cannot be decoded: {_reason(error)}", OR_SKIP) from error

    def _most_pixels(self, size: tuple[int, int], name: str) -> int:
        """Return how many pixels an image of this (width, height) has at its largest, as found and resized.

        Raises BadSampleError where a step could not take it; a rotation by EXIF changes none of that.
        """
        most = found = size[0] * size[1]
        if self._letterbox is not None:
            self._letterbox.check(*size, name)
            return found
        for step in self._geometry:
            if isinstance(step, ResizeShorter):
                size = resized_size(step, size)
                # A few thousand pixels in one line would otherwise become gigabytes.
                check_area(*size, name)
                most = max(most, found + size[0] * size[1])
            elif isinstance(step, CenterCrop):
                _check_crop(step, size, name)
                size = (step.size, step.size)
        return most

    def _fill(self, planes: NDArray[np.uint8], placement: Placement | None, out: NDArray[np.float32]) -> None:
        """Write the normalised planes (3, h, w) to their place in ``out``, zeros around them."""
        if placement is not None:
            out.fill(0)
            _, height, width = planes.shape
            top, left = placement.pad_top, placement.pad_left
            out = out[:, top : top + height, left : left + width]
        self._normalize(planes, out)

    def _normalize(self, pixels: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        """Write (pixels / divide - mean) / std; both arrays are (3, H, W)."""
        # One operation after the other in float32, as torchvision rounds; a folded scale would differ in the last bit.
        np.divide(pixels, self._divide, out=out)
        np.subtract(out, self._mean, out=out)
        np.divide(out, self._std, out=out)


def _fixed_shape(geometry: Sequence[Step]) -> tuple[int, int, int] | None:
    """Return the shape that the steps force on every image; raises RecipeError where a crop cannot fit."""
    shorter: int | None = None
    square = False
    for step in geometry:
        if isinstance(step, CenterCrop) and shorter is not None and step.size > shorter:
            raise RecipeError(
                f"preprocess: center_crop of {step.size} after a shorter side of {shorter} leaves the image",
                f"crop at most {shorter}, or resize to at least {step.size}",
            )
        if isinstance(step, CenterCrop | ResizeShorter):
            shorter, square = step.size, square or isinstance(step, CenterCrop)
    return (3, shorter, shorter) if square and shorter is not None else None


def _open(content: bytes, name: str) -> Image.Image:
    """Return the image, header read and size judged, pixels not decoded yet."""
    _settle_pillow()
    if not content:
        raise BadSampleError(f"{name}: is empty (0 bytes)", OR_SKIP)
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    # Given to the decoder in one piece: fed by 64 KB, a JPEG decoder begins some of its work again.
    image.decodermaxblock = max(image.decodermaxblock, len(content))
    check_area(image.width, image.height, name)
    check_work(content, image.format, image.width, image.height, name)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise BadSampleError(
            f"{name}: has more than 8 bits per pixel (mode {image.mode}), which conversion to RGB would clip to white",
            "save it with 8 bits, or pass --on-bad-image skip",
        )
    return image


def _settle_pillow() -> None:
    """Make Pillow's answer to a sample independent of what else runs in this process.

    Looked at per image, because other code (and every test) may swap the filters; ``catch_warnings`` is no way out,
    as it is not thread-safe.
    """
    # Warnings tell of things that change no pixel: odd EXIF, transparency of a palette. An "error" filter would make
    # them fatal. Two threads may both add the filter; that does no harm.
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
    # Some libraries set this on import; a truncated file would then pass as a photograph with a grey foot.
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _apply(step: Step, image: Image.Image) -> Image.Image:
    match step:
        case ResizeShorter():
            return image.resize(resized_size(step, image.size), RESAMPLING[step.interpolation])
        case CenterCrop():
            return _center_crop(step, image)
        case _:
            raise RecipeError(f"preprocess: step '{step.step}' in the middle", "mend the recipe")


def _check_crop(step: CenterCrop, size: tuple[int, int], name: str) -> None:
    if min(size) < step.size:
        raise BadSampleError(f"{name}: {size[0]} × {size[1]} is smaller than the crop of {step.size}", OR_SKIP)


def _center_crop(step: CenterCrop, image: Image.Image) -> Image.Image:
    left, top = _corner(step, image.size)
    return image.crop((left, top, left + step.size, top + step.size))


def _at_once(geometry: Sequence[Step], image: Image.Image) -> NDArray[np.uint8] | None:
    """Return what resize and crop would, bit for bit, computed for the crop alone; None where they must do it."""
    match [*geometry]:
        case [ResizeShorter() as resize, CenterCrop() as crop] if takes(*image.size):
            resample, to = resampler(), resized_size(resize, image.size)
            if resample is None:
                return None
            return resample(image, to, _corner(crop, to), crop.size, resize.interpolation)
    return None


def _corner(step: CenterCrop, size: tuple[int, int]) -> tuple[int, int]:
    """Return left and top of the crop in an image of (width, height)."""
    across, down = size[0] - step.size, size[1] - step.size
    if step.rounding == "floor":
        return across // 2, down // 2
    return round(across / 2), round(down / 2)


def _reason(error: Exception) -> str:
    """Return one line on an error of Pillow; its message for unknown bytes prints an object's address."""
    if isinstance(error, UnidentifiedImageError):
        return "no " + ", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]} image"
    return " ".join(str(error).split()) or type(error).__name__


def _size_text(shape: tuple[Any, ...]) -> str:
    return f"{shape[-1]} × {shape[-2]}"
