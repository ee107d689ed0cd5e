"""What the drawn sets share: how a set comes into being whole, and the light, clouds and shapes of its pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.artifacts import cannot_write
from modelport.core.errors import OutputError
from modelport.core.scratch import scratch_folder


@contextmanager
def drawn_into(out: Path) -> Iterator[Path]:
    """Yield a folder to draw a set into, and move it to ``out`` at the end; else no half set is left there.

    Raises OutputError where ``out`` holds something or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists and is no empty folder", "choose another --out, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent, out.name) as aside:
            # A folder inside, because the outer one is closed to other users.
            folder = aside / "set"
            folder.mkdir()
            yield folder
            if out.exists():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        raise cannot_write(out, error) from error


def scene(hue: float, rng: np.random.Generator) -> Image.Image:
    """Return sky over ground with cloudy shades, 48 × 36."""
    height, width = 36, 48
    y = np.linspace(0, 1, height)[:, None, None]
    horizon, slope = rng.uniform(0.45, 0.8), rng.normal(0, 0.15)
    x = np.linspace(-0.5, 0.5, width)[None, :, None]
    ground = 1 / (1 + np.exp(-(y - horizon - slope * x - 0.05 * clouds(width, height, 6, rng)) * 60))
    high, low = rgb(hue, 0.25, 0.95), rgb(hue + rng.normal(0, 0.02), 0.55, 0.8)
    near, far = rgb(hue + 0.06, 0.65, 0.3), rgb(hue + rng.normal(0, 0.02), 0.5, 0.55)
    sky = high + (low - high) * y / horizon
    earth = far + (near - far) * (y - horizon) / (1 - horizon)
    shade = 1 + 0.10 * clouds(width, height, 5, rng) + 0.06 * clouds(width, height, 12, rng)
    return to_image((sky * (1 - ground) + earth * ground) * shade * 255)


def develop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the image with exposure, white balance and film grain."""
    width, height = image.size
    gain = rng.uniform(0.8, 1.15) * rng.normal(1, 0.025, 3)
    # Grain is spread by half a pixel's blow-up, as a camera's is by its demosaicing.
    grain = rng.normal(0, rng.uniform(2, 9), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    fine = np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BILINEAR))
    return to_image(np.asarray(image, np.float32) * gain.astype(np.float32) + fine[:, :, None])


def clouds(width: int, height: int, cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise of unit variance at its nodes, (height, width, 1)."""
    nodes = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    smooth = Image.fromarray(nodes).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64)[:, :, None]


def rgb(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """Return the colour as red, green and blue in [0, 1], (3,); a hue of 1 more is the same."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def to_image(values: NDArray[np.floating[Any]]) -> Image.Image:
    """Return values (height, width, 3), cut to 0 … 255, as an image."""
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def polygon(*radii: float, points: int = 48) -> NDArray[np.float64]:
    """Return an outline around the origin whose distance runs through ``radii``, (points, 2)."""
    steps = np.arange(points) * len(radii) / points
    distance = np.interp(steps, np.arange(len(radii) + 1), [*radii, radii[0]])
    angle = 2 * np.pi * np.arange(points) / points - np.pi / 2
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


# Ball, house, cross, star, leaf: what the things of a class look like.
SHAPES = (
    polygon(1.0),
    np.array([[0.0, -1.0], [0.9, -0.3], [0.9, 0.9], [-0.9, 0.9], [-0.9, -0.3]]),
    polygon(1.0, 0.4, 1.0, 0.4, 1.0, 0.4, 1.0, 0.4),
    polygon(*[1.0, 0.45] * 5),
    polygon(1.2, 0.5, 0.35, 0.5, 1.2, 0.5, 0.35, 0.5),
)
