"""What torchvision's transforms.v2 make of drawn images; run by itself where torchvision is installed, it writes the
numbers that ``tests/data/prepare/test_torchvision.py`` holds the recipe's steps against."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILE = Path(__file__).with_suffix(".npz")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
SIZES = ((1, 1), (1, 40), (37, 23), (24, 61), (64, 64))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DECODE = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
BYTES = {"step": "to_tensor", "layout": "NCHW", "dtype": "uint8"}

Steps = list[dict[str, Any]]


def image(width: int, height: int) -> NDArray[np.uint8]:
    """Return a drawn image, uint8 (height, width, 3), half of it black and white to drive filters beyond 0 to 255."""
    rng = np.random.default_rng(1000 * width + height)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    edges = rng.random((height, width)) < 0.5
    pixels[edges] = rng.choice(np.array([0, 255], np.uint8), (int(edges.sum()), 3))
    return pixels


def cases() -> dict[str, tuple[Steps, tuple[int, int]]]:
    """Return the recipe's steps of each case, and the (width, height) of its image."""
    found: dict[str, tuple[Steps, tuple[int, int]]] = {}
    for size in SIZES:
        for name in FILTERS:
            exact = {"step": "resize", "width": 19, "height": 14, "interpolation": name}
            found[f"resize-{name}-{size}"] = [DECODE, exact, BYTES], size
        shorter = {"step": "resize_shorter", "size": 17, "interpolation": "bicubic"}
        found[f"shorter-{size}"] = [DECODE, shorter, BYTES], size
        crop = {"step": "center_crop", "size": 12, "rounding": "half_even"}
        found[f"crop-{size}"] = [DECODE, shorter, crop, BYTES], size
        for channels in (1, 3):
            grey = {"step": "grey", "by": "pillow", "channels": channels}
            found[f"grey-{channels}-{size}"] = [DECODE, grey, shorter, BYTES], size
        scaled = {"step": "multiply", "by": [1 / 255]}
        found[f"to_dtype-{size}"] = [DECODE, shorter, scaled], size
        numbers = [{"step": "subtract", "mean": MEAN}, {"step": "divide", "by": STD}]
        found[f"normalize-{size}"] = [DECODE, shorter, scaled, *numbers], size
        found[f"to_tensor-{size}"] = (
            [DECODE, shorter, {"step": "normalize", "divide": 255.0, "mean": MEAN, "std": STD}],
            size,
        )
        half = {"step": "to_tensor", "layout": "NCHW", "dtype": "float16"}
        found[f"half-{size}"] = [*found[f"to_tensor-{size}"][0], half], size
    return found


def _transforms(steps: Steps) -> Any:
    """Return torchvision's own pipeline for a case's steps."""
    import torch
    from torchvision.transforms import InterpolationMode, v2

    made: list[Any] = []
    scaled = any(step["step"] == "multiply" for step in steps)
    for step in steps[1:]:
        match step["step"]:
            case "resize":
                made.append(v2.Resize((step["height"], step["width"]), InterpolationMode(step["interpolation"])))
            case "resize_shorter":
                made.append(v2.Resize(step["size"], InterpolationMode(step["interpolation"])))
            case "center_crop":
                made.append(v2.CenterCrop(step["size"]))
            case "grey":
                made.append(v2.Grayscale(step["channels"]))
            case "multiply":
                made += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
            case "divide":
                made.append(v2.Normalize(MEAN, STD))
            case "normalize":
                made += [v2.functional.to_tensor, v2.Normalize(step["mean"], step["std"])]
            case "to_tensor":
                made.append(v2.ToDtype(torch.float16) if step["dtype"] == "float16" else v2.PILToTensor())
    assert not scaled or any(isinstance(step, v2.ToDtype) for step in made)
    return v2.Compose(made)


def main() -> None:
    """Write the file."""
    import torchvision

    made: dict[str, Any] = {
        name: np.asarray(_transforms(steps)(Image.fromarray(image(*size)))) for name, (steps, size) in cases().items()
    }
    np.savez_compressed(FILE, torchvision=np.array(torchvision.__version__), **made)
    print(f"{len(made)} cases of torchvision {torchvision.__version__}, {FILE.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
