"""Images for a model whose own preprocessing nobody tells: resized to its input, and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.steps import Decode, Normalize

_AS_IT_IS = Normalize(step="normalize", divide=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
_DECODED = Preprocess([Decode(step="decode", color="RGB", exif_rotation="apply"), _AS_IT_IS])


def plain_image(content: bytes, name: str, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W, C) of ``size`` (H, W): RGB, or grey for one channel; bilinear, proportions not kept.

    ``name`` tells the image in errors. Raises BadSampleError where the bytes are no sound image.
    """
    image = Image.fromarray(_DECODED.pixels(content, name))
    resized = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    grey = channels == 1
    pixels = np.asarray(resized.convert("L") if grey else resized)
    return pixels[..., None] if grey else pixels
