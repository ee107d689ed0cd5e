"""Small sets of identities, drawn: simple faces, each again and again in another light and from slightly elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelport.core.errors import UsageError
from modelport.data.drawn.common import develop, drawn_into, polygon, rgb
from modelport.data.drawn.labelled import backdrop, stamp

# Streams of one seed: no picture of one is a picture of another.
_VAL, _TRAIN, _WHO = 0, 1, 2
_SIZE = 64
_OVAL = polygon(1.0)


def draw_faces(
    out: Path,
    *,
    count: int = 320,
    train_per_identity: int = 6,
    identities: int = 40,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Draw ``count`` validation pictures and some for training, in class folders, into the new folder ``out``.

    A folder is an identity, named by its number; both splits have the same. Equal arguments give equal files,
    ``progress`` is called for each picture drawn. Returns what was drawn, as JSON values. Raises UsageError for counts
    that make no set, OutputError where ``out`` holds something or cannot be written.
    """
    if count < 2 * identities or train_per_identity < 1 or identities < 2:
        raise UsageError(
            f"{count} pictures of {identities} identities", f"give a --count of at least {2 * identities}, two of each"
        )
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")
    with drawn_into(out) as folder:
        for split, stream, number in (("val", _VAL, count), ("train", _TRAIN, identities * train_per_identity)):
            for index in range(number):
                who = index % identities
                place = folder / split / f"{who:04d}"
                place.mkdir(parents=True, exist_ok=True)
                face = np.random.default_rng((seed, _WHO, who))
                image = _draw(face, np.random.default_rng((seed, stream, index)))
                image.save(place / f"{index // identities + 1:04d}.png", compress_level=1)
                progress()
    train = identities * train_per_identity
    return {"out": str(out), "val": count, "train": train, "identities": identities, "seed": seed}


def _draw(face: np.random.Generator, rng: np.random.Generator) -> Image.Image:
    """Return a picture: what ``face`` draws is the identity's, what ``rng`` draws is this picture's alone."""
    image = backdrop(_SIZE, _SIZE, rng)
    skin = rgb(face.uniform(0.03, 0.12), face.uniform(0.25, 0.6), face.uniform(0.45, 0.95))
    hair, eyes, lips = (rgb(face.random(), face.uniform(0.2, 0.9), face.uniform(0.1, 0.7)) for _ in range(3))
    wide, apart, above, below, mouth, fringe = face.uniform(
        (0.72, 0.28, 0.05, 0.3, 0.15, -0.75), (0.95, 0.5, 0.3, 0.6, 0.45, -0.35)
    )
    size = _SIZE * rng.uniform(0.33, 0.39)
    middle = _SIZE / 2 + rng.uniform(-3, 3, 2)
    turn = rng.normal(0, 0.05)  # sideways, of what lies on the face
    parts = [
        (_OVAL * (wide * 1.12, 1.15), (0.0, -0.1), hair),
        (_OVAL * (wide, 1.0), (0.0, 0.1), skin),
        (_OVAL * (wide * 0.9, 0.28), (0.0, fringe), hair),
        *((_OVAL * 0.13, (side * apart + turn, -above), eyes) for side in (-1, 1)),
        (_OVAL * (mouth, 0.09), (turn, below), lips),
    ]
    for outline, place, tone in parts:
        center = middle + np.array(place) * size
        stamp(image, outline, (float(center[0]), float(center[1])), size, tone)
    return develop(image, rng)
