"""What an image may cost: judged before it is decoded, shared by all threads, and never mistaken for damage."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

from modelport.core.errors import BadSampleError, DataError
from modelport.core.values import Sample
from modelport.data.prepare.image_limits import MAX_SCANS, PixelBudget, check_work
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.steps import CenterCrop, Decode, Normalize, ResizeShorter

DECODE = Decode(step="decode", color="RGB", exif_rotation="apply")
NORMALIZE = Normalize(step="normalize", divide=255.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
RESIZE = ResizeShorter(step="resize_shorter", size=256, interpolation="bilinear")
BARE, RESIZED = Preprocess([DECODE, NORMALIZE]), Preprocess([DECODE, RESIZE, NORMALIZE])


def png(width: int, height: int) -> bytes:
    """Return a sound black PNG of one bit per pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes((width + 7) // 8 + 1) * height)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def jpeg(progressive: bool = True) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", progressive=progressive)
    return stream.getvalue()


def with_scans(content: bytes, more: int) -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * more + content[-2:]


def never(*_: Any) -> None:
    raise AssertionError("pixels were decoded")


@pytest.mark.parametrize("size", [(1_000_000, 2), (2, 1_000_000)])
def test_the_size_after_a_resize_is_judged_before_decoding(size: tuple[int, int], monkeypatch: Any) -> None:
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", never)
    with pytest.raises(BadSampleError, match="beyond the limit"):
        RESIZED.pixels(png(*size), "line")


def test_more_pixels_than_the_bytes_can_hold_are_not_decoded(monkeypatch: Any) -> None:
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", never)
    header = png(8, 8)[:16] + struct.pack(">II", 13000, 13000) + png(8, 8)[24:29]
    header += struct.pack(">I", zlib.crc32(header[12:29])) + png(8, 8)[33:]
    with pytest.raises(BadSampleError, match="cannot hold 13000 × 13000"):
        BARE.pixels(header, "hollow")


def test_the_best_deflate_can_do_is_no_alarm() -> None:
    assert BARE.pixels(png(8000, 2000), "black").shape == (2000, 8000, 3)


def test_a_progressive_jpeg_of_hundreds_of_scans_is_not_decoded(monkeypatch: Any) -> None:
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", never)
    with pytest.raises(BadSampleError, match=r"a JPEG of \d+ scans"):
        BARE.pixels(with_scans(jpeg(), MAX_SCANS), "slow")
    with pytest.raises(BadSampleError, match="scans of 10000"):
        check_work(with_scans(jpeg(), 50), "JPEG", 10000, 10000, "large")


def test_scan_markers_outside_the_first_image_do_not_count() -> None:
    sound = jpeg()
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 2 * 400) + b"\xff\xda" * 400
    for content in (sound, sound[:2] + comment + sound[2:], sound + b"\xff\xda" * 400):
        assert np.array_equal(BARE.pixels(content, "x"), BARE.pixels(sound, "x"))


def test_no_more_pixels_than_the_budget_are_held_and_all_get_theirs() -> None:
    budget, held, most, lock = PixelBudget(10), 0, 0, threading.Lock()

    def take(pixels: int) -> int:
        nonlocal held, most
        with budget.share(pixels):
            with lock:
                held += min(pixels, 10)
                most = max(most, held)
            with lock:
                held -= min(pixels, 10)
        return pixels

    wanted = [1, 9, 4, 10, 25, 3] * 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(take, wanted, timeout=20)) == wanted
    assert most <= 10


def test_a_bad_image_gives_its_share_back() -> None:
    for _ in range(20):
        with pytest.raises(BadSampleError):
            BARE.pixels(png(5000, 5000)[:-2000], "cut")
    assert BARE.pixels(png(5000, 5000), "whole").shape == (5000, 5000, 3)


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory error when reading image file")])
def test_memory_that_ran_out_is_no_bad_image(error: Exception, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", full)
    with pytest.raises(DataError, match="memory ran out") as caught:
        BARE.pixels(jpeg(), "x")
    assert not isinstance(caught.value, BadSampleError)


def test_a_crop_that_cannot_fit_is_told_before_decoding(monkeypatch: Any) -> None:
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", never)
    crop = CenterCrop(step="center_crop", size=224, rounding="floor")
    with pytest.raises(BadSampleError, match="smaller than the crop"):
        Preprocess([DECODE, crop, NORMALIZE]).pixels(png(5000, 200), "flat")


def test_a_pipe_in_place_of_an_image_is_a_bad_sample(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadSampleError, match="named pipe"):
        Sample("pipe", 0, tmp_path / "pipe.png").read()
