"""Photo-like JPEGs for the benchmarks: layered noise with the spectrum of photographs, 500 × 375, about 70 KB each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import modelport as mp

WIDTH, HEIGHT = 500, 375
# (cells across, strength): coarse light and dark, then finer and finer detail.
LAYERS = ((8, 60), (32, 40), (96, 25), (250, 12))


def draw_photos(out: Path, count: int, first: int = 0) -> Path:
    """Write ``count`` images and their labels in ImageNet's flat layout, numbered from ``first``; return ``out``."""
    (out / "images").mkdir(parents=True)

    def draw(number: int) -> str:
        name = f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        Image.fromarray(_photo(number)).save(out / "images" / name, quality=90)
        return f"{name} {number % 1000}\n"

    with ThreadPoolExecutor(mp.environment()["cores"]) as pool:
        lines = list(pool.map(draw, range(first, first + count)))
    (out / "val_label.txt").write_text("".join(lines), encoding="utf-8")
    return out


def _photo(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    image = np.full((HEIGHT, WIDTH, 3), 118, np.float32)
    for cells, strength in LAYERS:
        noise = rng.standard_normal((3, cells * HEIGHT // WIDTH + 1, cells)).astype(np.float32)
        layers = [np.asarray(Image.fromarray(part).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for part in noise]
        # Mostly light and dark, a little colour.
        image += strength * (0.8 * layers[0][..., None] + 0.4 * np.stack(layers, axis=-1))
    image += rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8)
