"""Pictures whose classes differ in fine texture, in ImageNet's layout: who knows them minds geometry and resizing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = ((250, 188), (188, 250), (250, 170), (200, 200))
CLASSES = 10
# The wavelength of class 0 in pixels of an image whose shorter side is SHORTER; a picture departs from its class's by a
# quarter of a step.
LONGEST, SHORTER, SPREAD = 14.0, 188.0, 0.25


@dataclass(frozen=True, slots=True)
class Kind:
    """By what the classes differ."""

    ratio: float = 0.92  # of the wavelength, from class to class
    tint: float = 1.0  # of a hue's strength
    turned: bool = True  # whether classes beside each other have other directions
    noise: float = 5.0  # of pixels, 0 to 255


# What networks with fitted last layers learn; and what trained ones learn without being certain of it.
COARSE, FINE = Kind(), Kind(ratio=0.96, tint=0.3, turned=False, noise=12.0)


def draw_textures(out: Path, val: int, train_per_class: int, seed: int, kind: Kind = COARSE) -> Path:
    """Write ``val`` validation and ``CLASSES * train_per_class`` training images; return ``out``."""
    rng = np.random.default_rng(seed)
    (out / "val").mkdir(parents=True)
    lines = []
    for number, label in enumerate(rng.permutation(np.arange(val) % CLASSES)):
        name = f"ILSVRC2012_val_{number + 1:08d}.JPEG"
        _picture(int(label), rng, kind).save(out / "val" / name, quality=92)
        lines.append(f"{name} {label}\n")
    (out / "val_label.txt").write_text("".join(lines), encoding="utf-8")
    for label in range(CLASSES):
        folder = out / "train" / f"n{label:08d}"
        folder.mkdir(parents=True)
        for number in range(train_per_class):
            _picture(label, rng, kind).save(folder / f"{folder.name}_{number + 1}.JPEG", quality=92)
    return out


def _picture(label: int, rng: np.random.Generator, kind: Kind) -> Image.Image:
    """Return two crossed gratings over smooth noise, a little tinted by the class."""
    width, height = SIZES[rng.integers(len(SIZES))]
    y, x = np.mgrid[0:height, 0:width].astype(float)
    image: Any = np.zeros((height, width, 3)) + 118 + rng.normal(0, 14, 3)
    for cells, strength in ((4, 40), (9, 22)):
        noise = rng.normal(0, 1, (3, cells, cells)).astype(np.float32)
        layers = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in noise]
        image += strength * np.stack(layers, axis=-1)
    tint = kind.tint * np.array([np.cos(2 * np.pi * (label / CLASSES + part / 3)) for part in range(3)])
    wave = LONGEST * kind.ratio ** (label + rng.normal(0, SPREAD)) * min(width, height) / SHORTER
    angle = rng.uniform(-0.25, 0.25) + (label % 3) * np.pi / 3 * kind.turned
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    one = np.sin(2 * np.pi * along / wave + rng.uniform(0, 6))
    other = np.sin(2 * np.pi * across / (1.4 * wave) + rng.uniform(0, 6))
    image += 10 * tint + (26 * one + 18 * other)[..., None] * (0.8 + 0.3 * tint)
    image += rng.normal(0, kind.noise, image.shape)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))
