"""Raw bytes read as what they are not: named by their values; sound tensors, noise and constants are not doubted."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.data.files.raw_values import dtype_doubt, layout_doubt, size_reading


def picture(seed: int = 0, side: int = 32) -> Array:
    """Return a smooth prepared picture, float32 (1, 3, side, side)."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 3, side), np.linspace(0, 3, side), indexing="ij")
    planes = [np.sin(x * rng.uniform(0.5, 2) + rng.uniform(0, 6)) + np.cos(y * rng.uniform(0.5, 2)) for _ in range(3)]
    return (np.stack(planes)[None] + rng.normal(0, 0.05, (1, 3, side, side)) + 0.3).astype(np.float32)


def pixels(seed: int = 0) -> Array:
    """Return a smooth picture, uint8 (1, side, side, 3)."""
    return np.ascontiguousarray(np.clip(picture(seed) * 50 + 110, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def read_as(array: Array, dtype: str) -> Array:
    return np.frombuffer(array.tobytes(), dtype)


@pytest.mark.parametrize(
    ("written", "read", "named"),
    [
        (np.concatenate([picture(1), picture(2)]).astype(np.float16), "float32", "float16 values"),
        (picture(3).astype(np.float64), "float32", "float64 values"),
        (picture(3).astype(">f4"), "float32", "big-endian float32 values"),
        (pixels(4), "float32", "uint8 values"),
        (picture(5), "uint8", "float32 values"),
    ],
    ids=["float16", "float64", "big-endian", "uint8", "float32"],
)
def test_bytes_of_another_dtype_are_named(written: Array, read: str, named: str) -> None:
    assert named in dtype_doubt(read_as(written, read))


@pytest.mark.parametrize(
    "sound",
    [
        *(picture(seed) for seed in range(4)),
        *(pixels(seed) for seed in range(4)),
        np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32),
        np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8),
        np.zeros((1, 3, 32, 32), np.float32),
        *(np.full((1, 32, 32, 3), value, np.uint8) for value in (0, 60, 255)),
        np.repeat(picture()[:, :1], 3, axis=1),  # without colour
        pixels().transpose(0, 3, 1, 2).astype(np.float32),  # whole numbers
        np.indices((1, 3, 32, 32)).sum(axis=0).astype(np.float32) % 2,  # a chessboard
    ],
)
def test_sound_tensors_are_not_doubted(sound: Array) -> None:
    assert (dtype_doubt(sound), layout_doubt(sound)) == ("", "")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_layout_is_named(seed: int) -> None:
    planes = picture(seed)
    rows = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    assert "rows are NHWC, read as NCHW" in layout_doubt(rows.reshape(planes.shape))
    assert "rows are NCHW, read as NHWC" in layout_doubt(planes.reshape(rows.shape))
    assert "rows are NCHW, read as NHWC" in layout_doubt(pixels(seed).transpose(0, 3, 1, 2).copy().reshape(rows.shape))


def test_a_size_tells_a_dtype() -> None:
    assert "float16" in size_reading(24, 12, "float32")
    assert "float64" in size_reading(96, 12, "float32")
    assert size_reading(48, 12, "float32") == size_reading(50, 12, "float32") == ""
