"""Bytes → an image whose size is judged before any of its pixels is decoded, or an array of any number of channels."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
    # These two register themselves; left to the first sample that needs one, Pillow would load all its plugins in a
    # worker thread.
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from modelport.core.errors import BadSampleError, ModelportError
from modelport.data.prepare.image_limits import (
    FORMATS,
    NO_IMAGE,
    OR_SKIP,
    check_area,
    check_work,
    out_of_memory,
    ran_out,
)

# Pillow's mode of the pixels between decoding and normalisation; blue comes first only at the end.
MODES = {"RGB": "RGB", "BGR": "RGB", "L": "L", "RGBA": "RGBA"}
# Modes that have an opacity for each pixel, or for each colour of a palette.
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
# Tags of TIFF (revision 6.0), Exif's too: BitsPerSample, SampleFormat (1: unsigned whole numbers), Orientation (1:
# upright), and its values that swap width and height.
_BITS, _KIND, _ORIENTATION = 258, 339, 274
_LYING = (5, 6, 7, 8)
# The form in which ``warnings`` holds a filter: everything that Pillow's own modules say.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def open_image(content: bytes, name: str) -> Image.Image:
    """Return the image, header read and size judged, pixels not decoded yet. Raises BadSampleError."""
    _settle_pillow()
    _refuse_empty(content, name)
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
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_other_tiff(image, name)
    return image


def size_as_seen(image: Image.Image) -> tuple[int, int]:
    """Return width and height once the camera's rotation, which EXIF tells, is applied. No pixel is decoded."""
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION, 1) in _LYING else (width, height)


def _refuse_other_tiff(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """Raise BadSampleError for a TIFF of which readers make different pixels.

    Of 16 bits Pillow keeps the upper 8 and of several pages the first, it takes signed samples for unsigned ones, and
    turns by the orientation whatever is asked.
    """
    tags = image.tag_v2
    bits, kinds = (_all(tags.get(tag, 1)) for tag in (_BITS, _KIND))
    if max(bits) > 8 or set(kinds) != {1}:
        found = f"samples of {max(bits)} bits" if max(bits) > 8 else f"samples of the format {kinds[0]}, not unsigned"
        raise BadSampleError(f"{name}: a TIFF with {found}", f"save it with 8 bits, unsigned, {OR_SKIP}")
    if image.is_animated:
        raise BadSampleError(f"{name}: a TIFF of more than one page", f"save each page in a file, {OR_SKIP}")
    if tags.get(_ORIENTATION, 1) != 1:
        raise BadSampleError(
            f"{name}: a TIFF that is stored turned (orientation {tags[_ORIENTATION]})", f"save it upright, {OR_SKIP}"
        )


def _all(value: object) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (int(str(value)),)


def refuse_no_alpha(image: Image.Image, name: str) -> None:
    """Raise BadSampleError for an image without a fourth channel: nobody said how opaque it is."""
    if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
        raise BadSampleError(
            f"{name}: has no fourth channel (mode {image.mode}), the recipe decodes to RGBA",
            f'give a file that has one, decode to "RGB", {OR_SKIP}',
        )


def read_array(content: bytes, channels: int, name: str) -> NDArray[np.uint8]:
    """Return uint8 (H, W, C) of an ``.npy`` file that holds it, or (H, W). Raises BadSampleError."""
    _refuse_empty(content, name)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = header(stream)
    flat = np.frombuffer(content, np.uint8, offset=stream.tell())
    wanted = (*shape[:2], channels)
    good = dtype == np.uint8 and (shape == wanted or (channels == 1 and shape == wanted[:2]))
    # Held against the bytes before anything is made of them: a header may name any size.
    if not good or flat.size != math.prod(wanted) or flat.size == 0:
        raise BadSampleError(
            f"{name}: holds {dtype} {shape} in {flat.size} bytes, the recipe wants uint8 (H, W, {channels})",
            f"write the array so, mend decode_array, {OR_SKIP}",
        )
    pixels = flat.reshape(wanted, order="F" if fortran else "C")
    check_area(pixels.shape[1], pixels.shape[0], name)
    return np.ascontiguousarray(pixels)


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Turn whatever a decoder stumbles over into BadSampleError, and memory that runs out into DataError."""
    try:
        yield
    except ModelportError:
        raise
    # Pillow meets damage with whatever its parser stumbled over: OSError, SyntaxError, struct.error, IndexError...
    except Exception as error:
        if ran_out(error):
            raise out_of_memory(name) from error
        raise BadSampleError(f"{name}: cannot be decoded: {_reason(error)}", OR_SKIP) from error


def _refuse_empty(content: bytes, name: str) -> None:
    if not content:
        raise BadSampleError(f"{name}: is empty (0 bytes)", OR_SKIP)


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


def _reason(error: Exception) -> str:
    """Return one line on an error of Pillow; its message for unknown bytes prints an object's address."""
    if isinstance(error, UnidentifiedImageError):
        return NO_IMAGE
    return " ".join(str(error).split()) or type(error).__name__
