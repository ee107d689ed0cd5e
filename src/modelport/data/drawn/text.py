"""Small sets for text recognition, drawn: numbers on grainy paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modelport.data.drawn.common import develop, rgb
from modelport.data.drawn.labelled import TRAIN, backdrop, draw_table

CHARACTERS = "0123456789"
_LETTERS = (3, 4, 5)
_CELL, _HEIGHT, _SIZE = 20, 32, 26  # pixels: of a character, of the picture, of the font


def draw_text(
    out: Path, *, count: int = 300, train: int = TRAIN, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures in the layout of the kind ``table`` into ``out``.

    A label is the text: three to five of CHARACTERS, each in a part of the picture of the same width. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written.
    """
    made = draw_table(out, ["text"], _draw, count, train, seed, progress)
    return made | {"characters": CHARACTERS}


def _draw(rng: np.random.Generator) -> tuple[Image.Image, list[str]]:
    text = "".join(rng.choice(list(CHARACTERS), rng.choice(_LETTERS)))
    image = backdrop(_CELL * len(text), _HEIGHT, rng).point(lambda value: 128 + value // 2)
    ink = tuple(int(255 * part) for part in rgb(rng.random(), 0.6, rng.uniform(0.05, 0.35)))
    brush, font = ImageDraw.Draw(image), ImageFont.load_default(size=_SIZE)
    for place, character in enumerate(text):
        left, top, right, bottom = brush.textbbox((0, 0), character, font=font)
        x = _CELL * (place + 0.5) - (left + right) / 2 + rng.uniform(-1, 1)
        y = _HEIGHT / 2 - (top + bottom) / 2 + rng.uniform(-1, 1)
        brush.text((x, y), character, fill=ink, font=font, stroke_width=int(rng.integers(2)))
    return develop(image, rng), [text]
