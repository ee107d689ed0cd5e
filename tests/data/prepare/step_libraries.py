"""Steps as a file spells them, and what Pillow, OpenCV and PyTorch make of pixels by the same words."""

from __future__ import annotations

import io
import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from modelport.recipes.steps import Step

Spelled = dict[str, Any]
Pixels = NDArray[np.uint8]

PILLOW = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
OPENCV = ["opencv_nearest", "opencv_linear", "opencv_cubic", "opencv_area", "opencv_lanczos4"]
UNIT = {"step": "normalize", "divide": 255.0, "mean": [0.0], "std": [1.0]}
CHANNELS = {"RGB": 3, "BGR": 3, "L": 1, "RGBA": 4}


def read(*steps: Spelled) -> list[Step]:
    return TypeAdapter(list[Step]).validate_python(steps)


def decode(color: str = "RGB", rotation: str = "ignore") -> Spelled:
    return {"step": "decode", "color": color, "exif_rotation": rotation}


def box(width: int = 40, height: int = 30, **changes: Any) -> Spelled:
    base = {"step": "letterbox", "width": width, "height": height, "colour": [114], "placement": "center"}
    return base | {"enlarge": True, "interpolation": "opencv_linear"} | changes


def to_tensor(layout: str, dtype: str) -> Spelled:
    return {"step": "to_tensor", "layout": layout, "dtype": dtype}


def png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def npy(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


def drawn(width: int, height: int, channels: int, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    edges = rng.random((height, width)) < 0.3
    pixels[edges] = rng.choice(np.array([0, 255], np.uint8), (int(edges.sum()), channels))
    return pixels if channels > 1 else pixels[:, :, 0]


# What the libraries make of pixels (H, W) or (H, W, C), in the order that the recipe decodes to.


def resized(pixels: Pixels, size: tuple[int, int], name: str, color: str = "RGB") -> Pixels:
    if name.startswith("opencv_"):
        return np.asarray(cv2.resize(pixels, size, interpolation=getattr(cv2, "INTER_" + name[7:].upper())), np.uint8)
    if pixels.ndim == 3 and color not in CHANNELS:
        return np.stack([resized(plane, size, name) for plane in pixels.transpose(2, 0, 1)], axis=2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling[name.upper()]))


def letterboxed(pixels: Pixels, step: Spelled, color: str) -> Pixels:
    """What Ultralytics' LetterBox does, by its lines."""
    shape = pixels.shape[:2]
    ratio = min(step["height"] / shape[0], step["width"] / shape[1])
    if not step["enlarge"]:
        ratio = min(ratio, 1.0)
    new = round(shape[1] * ratio), round(shape[0] * ratio)
    across, down = step["width"] - new[0], step["height"] - new[1]
    if step["placement"] == "center":
        across, down = across / 2, down / 2
    if shape[::-1] != new:
        pixels = resized(pixels, new, step["interpolation"], color)
    centred = step["placement"] == "center"
    top, bottom = round(down - 0.1) if centred else 0, round(down + 0.1)
    left, right = round(across - 0.1) if centred else 0, round(across + 0.1)
    planes = [pixels] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    colours = step["colour"] * len(planes) if len(step["colour"]) == 1 else step["colour"]
    # Plane by plane: copyMakeBorder takes no more than four colours.
    padded = [
        cv2.copyMakeBorder(np.ascontiguousarray(plane), top, bottom, left, right, cv2.BORDER_CONSTANT, value=[colour])
        for plane, colour in zip(planes, colours, strict=True)
    ]
    return np.asarray(np.stack(padded, axis=2), np.uint8)[..., 0] if pixels.ndim == 2 else np.stack(padded, axis=2)


def cropped(pixels: Pixels, size: int, rounding: str) -> Pixels:
    margins = pixels.shape[0] - size, pixels.shape[1] - size
    top, left = (margin // 2 if rounding == "floor" else round(margin / 2.0) for margin in margins)
    return pixels[top : top + size, left : left + size]


def shorter_side(pixels: Pixels, size: int, name: str, color: str) -> Pixels:
    height, width = pixels.shape[:2]
    to = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    return resized(pixels, to, name, color)


def grey(pixels: Pixels, step: Spelled, color: str) -> Pixels:
    if step["by"] == "opencv":
        made = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY if color == "BGR" else cv2.COLOR_RGB2GRAY), np.uint8)
    else:
        made = np.asarray(Image.fromarray(pixels[:, :, ::-1] if color == "BGR" else pixels).convert("L"))
    return made if step["channels"] == 1 else np.stack([made] * 3, axis=2)


def pixels_by_the_libraries(pixels: Pixels, steps: list[Spelled], color: str) -> Pixels:
    for step in steps:
        match step["step"]:
            case "resize":
                pixels = resized(pixels, (step["width"], step["height"]), step["interpolation"], color)
            case "resize_shorter":
                pixels = shorter_side(pixels, step["size"], step["interpolation"], color)
            case "center_crop":
                pixels = cropped(pixels, step["size"], step["rounding"])
            case "crop_by_ratio":
                scale = math.floor(step["size"] / step["ratio"])
                pixels = cropped(shorter_side(pixels, scale, step["interpolation"], color), step["size"], "half_even")
            case "letterbox":
                pixels = letterboxed(pixels, step, color)
            case "grey":
                pixels = grey(pixels, step, color)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def values_by_torch(pixels: Pixels, steps: list[Spelled]) -> torch.Tensor:
    planes = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float()
    for step in steps:
        numbers = {key: torch.tensor(step[key]).view(-1, 1, 1) for key in ("mean", "std", "by") if key in step}
        match step["step"]:
            case "normalize":
                planes = planes.div(step["divide"]).sub(numbers["mean"]).div(numbers["std"])
            case "divide":
                planes = planes.div(numbers["by"])
            case "multiply":
                planes = planes.mul(numbers["by"])
            case "subtract":
                planes = planes.sub(numbers["mean"])
    return planes
