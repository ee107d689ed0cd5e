"""Images with boxes drawn on them, for people."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from modelport.core.artifacts import written_aside
from modelport.core.values import Array
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.steps import Decode, Normalize

Colour = tuple[int, int, int]
Place = tuple[float, float, float, float]

_DARK: Colour = (16, 18, 22)
_LIGHT: Colour = (255, 255, 255)
# Boxes are in the pixels of the image as it is seen, so the camera's rotation is applied.
_AS_SEEN = Preprocess(
    [
        Decode(step="decode", color="RGB", exif_rotation="apply"),
        Normalize(step="normalize", divide=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    ]
)


def draw_boxes(
    content: bytes,
    boxes: Array,
    classes: Array,
    names: Sequence[str],
    scores: Array | None = None,
    *,
    name: str = "image",
) -> Image.Image:
    """Return the image with its boxes: (n, 4) x1 y1 x2 y2 in its pixels, class indices (n,), scores (n,) or None.

    ``names`` are the classes' by index, ``name`` tells the image in errors. The best box is drawn last. Raises
    BadSampleError where the bytes are no sound image.
    """
    image = Image.fromarray(_AS_SEEN.pixels(content, name))
    places = np.asarray(boxes, np.float64).reshape(-1, 4)
    kinds = [int(kind) for kind in np.asarray(classes).reshape(-1)]
    order = range(len(places)) if scores is None else np.argsort(np.asarray(scores), kind="stable").tolist()
    unit = max(image.size) / 640
    width = max(2, round(2 * unit))
    font = ImageFont.load_default(size=max(14.0, 14 * unit))
    canvas = ImageDraw.Draw(image)
    for row in order:
        _outline(canvas, tuple(places[row].tolist()), class_colour(kinds[row]), width)
    # Tags over all outlines, so that no line runs through a word; the best box takes its place first.
    taken: list[Place] = []
    for row in reversed(order):
        text = names[kinds[row]] if scores is None else f"{names[kinds[row]]} {float(scores[row]):.2f}"
        tag = _tag_place(canvas, tuple(places[row].tolist()), text, font, width, image.size, taken)
        taken.append(tag)
        _tag(canvas, tag, text, font, class_colour(kinds[row]))
    return image


def write_picture(path: Path, image: Image.Image) -> None:
    """Write the image as a JPEG, aside and then into place. Raises OutputError where that cannot be."""
    with written_aside(path) as aside:
        image.save(aside, "JPEG", quality=90)


def as_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Return pixels (H, W, 3), red first, as a JPEG that holds nothing else."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def class_colour(kind: int) -> Colour:
    """Return a class's colour: neighbours in number are far apart in hue, and all are strong enough to be seen."""
    # Steps of the golden ratio never come back to an earlier hue.
    hue = (0.02 + kind * 0.6180339887) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.65)[kind % 2], (1.0, 0.95, 0.85)[kind % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def _outline(canvas: ImageDraw.ImageDraw, box: tuple[float, ...], colour: Colour, width: int) -> None:
    """Draw a coloured line between two dark ones: one of the three stands out on any ground."""
    left, top, right, bottom = box
    rim = max(1, width // 2)
    # Pillow refuses a box whose right lies left of its left.
    right, bottom = max(left, right), max(top, bottom)
    canvas.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=_DARK, width=width + 2 * rim)
    canvas.rectangle((left, top, right, bottom), outline=colour, width=width)


def _tag_place(
    canvas: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: int,
    size: tuple[int, int],
    taken: Sequence[Place],
) -> Place:
    """Return where the tag goes: above the box, inside it, or below, wherever it hides no other tag."""
    left, top, _, bottom = box
    extent = canvas.textbbox((0, 0), text, font=font)
    # All tags of an image are as high as its tallest letters, whichever letters they hold.
    full = canvas.textbbox((0, 0), "Ågjy", font=font)
    wide, high = extent[2] - extent[0] + 4 * width, full[3] - full[1] + 2 * width
    x = min(max(0.0, left - width // 2), max(0.0, size[0] - wide))
    choices: list[tuple[float, int, Place]] = []
    for y in (top - high - width // 2, top + width, bottom + width, bottom - high - width):
        if 0 <= y <= size[1] - high:
            place = (x, y, x + wide, y + high)
            choices.append((sum(_common(place, other) for other in taken), len(choices), place))
    inside = min(max(0.0, top), max(0.0, size[1] - high))
    return min(choices)[2] if choices else (x, inside, x + wide, inside + high)


def _tag(
    canvas: ImageDraw.ImageDraw,
    place: Place,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: Colour,
) -> None:
    red, green, blue = colour
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    left, top, right, bottom = place
    canvas.rounded_rectangle(place, radius=(bottom - top) / 5, fill=colour, outline=_DARK)
    middle = ((left + right) / 2, (top + bottom) / 2)
    canvas.text(middle, text, fill=_DARK if bright else _LIGHT, font=font, anchor="mm")


def _common(one: Place, two: Place) -> float:
    """Return the area that two places share."""
    wide, high = (min(one[side + 2], two[side + 2]) - max(one[side], two[side]) for side in (0, 1))
    return max(0.0, wide) * max(0.0, high)
