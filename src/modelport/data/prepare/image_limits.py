"""What an image may cost before any of its pixels is decoded, and how many pixels are decoded at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from modelport.core.errors import BadSampleError, DataError

# Named one by one, so that no exotic decoder (EPS starts ghostscript) ever sees a sample's bytes.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
NO_IMAGE = f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
OR_SKIP = "replace the file, or pass --on-bad-image skip"
# Beyond this Pillow too suspects a decompression bomb; held here because its own limit is a global anyone may lift.
MAX_PIXELS = 178_956_970
# Each scan of a progressive JPEG goes over all pixels, however few bytes it has. jpegtran's and cjpeg's scripts make
# about ten; libjpeg-turbo, which advises a limit against this attack (djpeg -maxscans), stops its own fuzzers at 500.
MAX_SCANS = 100
# Pixels times scans: twenty scans of the largest image.
MAX_SCANNED = 20 * MAX_PIXELS
# A byte of deflate stands for at most 258 bytes in two bits, so for no more than this many (zlib's documentation).
DEFLATE_RATIO = 1032
# Samples of a PNG's pixel by its colour type (PNG specification, table 11.1).
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# In a scan's data 0xFF is followed by zero or a restart marker only.
_MARKER = re.compile(b"\xff([^\x00\xff\xd0-\xd7])")
_SOS, _EOI = 0xDA, 0xD9


def check_area(width: int, height: int, name: str) -> None:
    """Raise BadSampleError where an image of this size, found or resized to, is beyond the limit."""
    if width * height > MAX_PIXELS:
        raise BadSampleError(
            f"{name}: {width} × {height} pixels is beyond the limit of {MAX_PIXELS} (a decompression bomb?)", OR_SKIP
        )


def check_work(content: bytes, kind: str | None, width: int, height: int, name: str) -> None:
    """Raise BadSampleError where decoding would take work or memory that the file's bytes cannot justify.

    ``kind`` is Pillow's name of the format. JPEG: too many scans. PNG: more pixels than its bytes can hold.
    """
    if kind in ("JPEG", "MPO"):
        # Counting bytes is quick and never too low; thumbnails and further images are told apart where it matters.
        most = content.count(b"\xff\xda")
        if _too_many(most, width, height) and _too_many(scans := _scans(content), width, height):
            raise BadSampleError(
                f"{name}: a JPEG of {scans} scans of {width} × {height} pixels (a decompression bomb?)", OR_SKIP
            )
    elif kind == "PNG" and content[12:16] == b"IHDR":
        bits = content[24] * _PNG_SAMPLES.get(content[25], 1)
        if height * (-(-width * bits // 8) + 1) > DEFLATE_RATIO * len(content):
            raise BadSampleError(f"{name}: {len(content)} bytes cannot hold {width} × {height} pixels", OR_SKIP)


def _too_many(scans: int, width: int, height: int) -> bool:
    return scans > MAX_SCANS or scans * width * height > MAX_SCANNED


def _scans(content: bytes) -> int:
    """Return how many scans the first image of a JPEG file has."""
    scans, place = 0, 2
    while (found := _MARKER.search(content, place)) is not None:
        marker = found.group(1)[0]
        if marker == _EOI:
            break
        scans += marker == _SOS
        # A segment's length counts its own two bytes; an empty one would stand still.
        place = found.end() + max(2, int.from_bytes(content[found.end() : found.end() + 2], "big"))
    return scans


class PixelBudget:
    """Pixels that may be held decoded at once by all threads of the process; who wants more waits for the others.

    A thread holds one share at a time, and an image that wants more than all is let in alone, so someone always goes
    on.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        """Hold a share of the budget, once it is free."""
        wanted = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + wanted <= self._most)
            self._held += wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                self._changed.notify_all()


# As many as the largest image has: large images are decoded one after the other, photographs side by side.
IN_FLIGHT = PixelBudget(MAX_PIXELS)


def ran_out(error: BaseException) -> bool:
    """Whether an error of Python, Pillow or OpenCV says that memory ran out, which is no fault of the image."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "insufficient memory" in text


def out_of_memory(name: str) -> DataError:
    """Return the error for memory that ran out while an image was decoded; it is never skipped as a bad sample."""
    return DataError(f"{name}: memory ran out while this image was decoded", "give the process more memory")
