"""Eight things of COCO's categories, drawn: each has a colour and a shape of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Drawn this much larger and shrunk, which smooths the edges.
_LARGER = 4


@dataclass(frozen=True, slots=True)
class Brush:
    """Paints in shares of the picture's width and height."""

    canvas: ImageDraw.ImageDraw
    width: int
    height: int

    def polygon(self, colour: Colour, *points: Point) -> None:
        """Fill a polygon."""
        self.canvas.polygon([(x * self.width, y * self.height) for x, y in points], fill=colour)

    def ellipse(self, colour: Colour, left: float, top: float, right: float, bottom: float) -> None:
        """Fill an ellipse within a box."""
        self.canvas.ellipse(self._box(left, top, right, bottom), fill=colour)

    def block(self, colour: Colour, left: float, top: float, right: float, bottom: float, round_: float = 0.0) -> None:
        """Fill a box; ``round_`` is the corners' radius as a share of the height."""
        box = self._box(left, top, right, bottom)
        self.canvas.rounded_rectangle(box, radius=round_ * self.height, fill=colour)

    def fan(self, colour: Colour, box: tuple[float, float, float, float], start: float, end: float) -> None:
        """Fill a part of an ellipse, from one angle to another, in degrees from three o'clock on, clockwise."""
        self.canvas.pieslice(self._box(*box), start, end, fill=colour)

    def line(self, colour: Colour, thickness: float, *points: Point) -> None:
        """Draw a line; ``thickness`` is a share of the width."""
        ends = [(x * self.width, y * self.height) for x, y in points]
        self.canvas.line(ends, fill=colour, width=max(1, round(thickness * self.width)), joint="curve")

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * self.width, top * self.height, right * self.width, bottom * self.height


@dataclass(frozen=True, slots=True)
class Thing:
    """A category's id, its width over its height, and how it is painted."""

    category: int
    ratio: float
    paint: Callable[[Brush], None]


def draw_thing(thing: Thing, longer: int, rng: np.random.Generator) -> Image.Image:
    """Return the thing as RGBA without any margin, its longer side about ``longer`` pixels."""
    ratio = thing.ratio * float(rng.uniform(0.9, 1.1))
    width, height = (longer, round(longer / ratio)) if ratio > 1 else (round(longer * ratio), longer)
    large = Image.new("RGBA", (width * _LARGER, height * _LARGER))
    thing.paint(Brush(ImageDraw.Draw(large), *large.size))
    image = large.resize((width, height), Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # What is nearly transparent would belong to the box and be seen by nobody.
    return image.crop(image.getchannel("A").point([0] * 128 + [255] * 128).getbbox())


def _car(brush: Brush) -> None:
    body, dark, glass = (38, 84, 214), (24, 26, 32), (190, 216, 236)
    brush.polygon(body, (0.2, 0.45), (0.32, 0.05), (0.7, 0.05), (0.84, 0.45))
    brush.polygon(glass, (0.27, 0.42), (0.36, 0.13), (0.49, 0.13), (0.49, 0.42))
    brush.polygon(glass, (0.53, 0.42), (0.53, 0.13), (0.67, 0.13), (0.76, 0.42))
    brush.block(body, 0.0, 0.4, 1.0, 0.82, 0.16)
    brush.block((250, 226, 120), 0.93, 0.5, 1.0, 0.6, 0.03)
    for middle in (0.22, 0.77):
        brush.ellipse(dark, middle - 0.12, 0.6, middle + 0.12, 1.0)
        brush.ellipse((176, 180, 188), middle - 0.055, 0.71, middle + 0.055, 0.89)


def _traffic_light(brush: Brush) -> None:
    brush.block((30, 34, 36), 0.0, 0.0, 1.0, 1.0, 0.1)
    brush.block((52, 58, 60), 0.08, 0.035, 0.92, 0.965, 0.08)
    for top, colour in ((0.06, (255, 62, 48)), (0.37, (255, 190, 40)), (0.68, (40, 226, 110))):
        brush.ellipse(colour, 0.2, top, 0.8, top + 0.26)


def _stop_sign(brush: Brush) -> None:
    for colour, radius in (((246, 246, 246), 0.54), ((206, 22, 36), 0.48)):
        angles = np.pi / 8 + np.arange(8) * np.pi / 4
        brush.polygon(colour, *((0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)) for angle in angles))
    brush.block((246, 246, 246), 0.16, 0.42, 0.84, 0.58, 0.02)


def _umbrella(brush: Brush) -> None:
    handle = (88, 60, 40)
    brush.line(handle, 0.05, (0.5, 0.3), (0.5, 0.88), (0.54, 0.96), (0.61, 0.96), (0.64, 0.88))
    brush.fan((150, 44, 190), (0.0, 0.0, 1.0, 1.2), 180, 360)
    for left in (0.0, 1 / 3, 2 / 3):
        brush.fan((196, 104, 226), (left + 0.07, 0.02, left + 0.26, 1.18), 180, 360)


def _kite(brush: Brush) -> None:
    one, two = (20, 190, 200), (250, 246, 230)
    brush.polygon(one, (0.5, 0.0), (1.0, 0.3), (0.5, 0.3))
    brush.polygon(two, (0.5, 0.0), (0.0, 0.3), (0.5, 0.3))
    brush.polygon(two, (0.5, 0.3), (1.0, 0.3), (0.5, 0.78))
    brush.polygon(one, (0.5, 0.3), (0.0, 0.3), (0.5, 0.78))
    brush.line((210, 60, 90), 0.06, (0.5, 0.76), (0.42, 0.84), (0.58, 0.91), (0.48, 1.0))


def _banana(brush: Brush) -> None:
    angles = np.linspace(np.radians(5), np.radians(178), 40)
    outer = [(0.5 + 0.5 * np.cos(angle), 0.02 + 0.98 * np.sin(angle)) for angle in angles]
    inner = [(0.52 + 0.4 * np.cos(angle), 0.0 + 0.52 * np.sin(angle)) for angle in angles[::-1]]
    ridge = [(0.5 + 0.44 * np.cos(angle), 0.02 + 0.72 * np.sin(angle)) for angle in angles[::-1]]
    brush.polygon((252, 214, 36), *outer, *inner)
    brush.polygon((226, 178, 22), *outer, *ridge)
    brush.block((96, 72, 30), 0.0, 0.0, 0.1, 0.14, 0.03)
    brush.block((96, 72, 30), 0.9, 0.02, 1.0, 0.12, 0.03)


def _potted_plant(brush: Brush) -> None:
    for angle, green in ((-62, 96), (62, 96), (-32, 124), (32, 124), (0, 150)):
        turn = np.radians(angle)
        along, across = (np.sin(turn), -np.cos(turn)), (np.cos(turn), np.sin(turn))
        spread = [(0.0, 0.0), (0.35, 0.12), (0.7, 0.11), (1.0, 0.0), (0.7, -0.11), (0.35, -0.12)]
        leaf = [
            (0.5 + 0.56 * (far * along[0] + side * across[0]), 0.62 + 0.62 * (far * along[1] + side * across[1]))
            for far, side in spread
        ]
        brush.polygon((34, green, 46), *leaf)
    brush.polygon((196, 98, 52), (0.24, 0.66), (0.76, 0.66), (0.67, 1.0), (0.33, 1.0))
    brush.block((214, 116, 66), 0.2, 0.6, 0.8, 0.7, 0.02)


def _clock(brush: Brush) -> None:
    dark = (28, 30, 36)
    brush.ellipse(dark, 0.0, 0.0, 1.0, 1.0)
    brush.ellipse((250, 250, 246), 0.08, 0.08, 0.92, 0.92)
    for angle in np.arange(12) * np.pi / 6:
        x, y = np.cos(angle), np.sin(angle)
        brush.line(dark, 0.035, (0.5 + 0.33 * x, 0.5 + 0.33 * y), (0.5 + 0.39 * x, 0.5 + 0.39 * y))
    brush.line(dark, 0.06, (0.3, 0.36), (0.5, 0.5), (0.5, 0.2))
    brush.ellipse((206, 40, 40), 0.45, 0.45, 0.55, 0.55)


THINGS = (
    Thing(3, 1.9, _car),
    Thing(10, 0.42, _traffic_light),
    Thing(13, 1.0, _stop_sign),
    Thing(28, 1.15, _umbrella),
    Thing(38, 0.75, _kite),
    Thing(52, 1.5, _banana),
    Thing(64, 0.8, _potted_plant),
    Thing(85, 1.0, _clock),
)
