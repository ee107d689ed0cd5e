"""TIFF: 8 bits give the pixels that were saved; what readers make different pixels of is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelport.core.errors import BadSampleError
from modelport.data.prepare.decoding import open_image, told_of

PIXELS = np.random.default_rng(6).integers(0, 256, (7, 9, 3), np.uint8)


def _saved(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def _rgb16() -> bytes:
    """A TIFF of 2 × 1 pixels in 16-bit RGB, little-endian, written by hand: Pillow writes none."""
    data = struct.pack("<6H", 1, 2, 3, 65535, 256, 255)
    tags = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 3, 8 + 2 + 12 * 9 + 4), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8 + 2 + 12 * 9 + 4 + 6), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + struct.pack("<3H", 16, 16, 16) + data


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_eight_bits_are_the_pixels_that_were_saved(compression: str | None) -> None:
    for pixels, mode in ((PIXELS, "RGB"), (PIXELS[..., 0], "L")):
        content = _saved(Image.fromarray(pixels), compression=compression)
        assert np.array_equal(np.asarray(open_image(content, "a.tif").convert(mode)), pixels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_rgb16(), "a.tif: a TIFF with samples of 16 bits"),
        (_saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256)), "a.tif: has more than 8 bits per pixel"),
        (_saved(Image.fromarray(PIXELS[..., 0].astype(np.float32))), "a.tif: has more than 8 bits per pixel"),
        (_saved(Image.fromarray(PIXELS[..., 0]), tiffinfo={339: 2}), "a.tif: a TIFF with samples of the format 2"),
        (
            _saved(Image.fromarray(PIXELS), save_all=True, append_images=[Image.fromarray(PIXELS)]),
            "a.tif: a TIFF of more than one page",
        ),
        (_saved(Image.fromarray(PIXELS), tiffinfo={274: 6}), "a.tif: a TIFF that is stored turned"),
        (_saved(Image.fromarray(PIXELS))[:40], "a.tif: cannot be decoded"),
    ],
)
def test_what_gives_each_reader_other_pixels_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BadSampleError, match=message), told_of("a.tif"):
        open_image(content, "a.tif").load()
