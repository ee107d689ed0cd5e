"""Detectors' recipes and seeded answers in every form, and their boxes by plain loops in float64: an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.recipes.load import parse_recipe
from modelport.recipes.schema import Recipe

Row = tuple[float, int, tuple[float, float, float, float]]
"""Score, class, corners."""
SIDE = 64


def recipe_of(outputs: Sequence[tuple[str, str, Any]], classes: int = 3, detection: str = "", more: str = "") -> Recipe:
    """Return a recipe of a detector on images of 64 × 64 pixels with these outputs (name, dtype, shape)."""
    listed = ", ".join(f'{{ name = "{name}", dtype = "{dtype}", shape = {shape} }}' for name, dtype, shape in outputs)
    text = f"""
schema = "modelport.recipe/1"
name = "boxes"
task = "detection"
metrics = ["mAP", "mAP_50"]
preprocess = [{{ step = "decode", color = "RGB", exif_rotation = "ignore" }},
    {{ step = "resize", width = {SIDE}, height = {SIDE}, interpolation = "bilinear" }},
    {{ step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] }}]
tensors.inputs = [{{ name = "input", dtype = "float32", shape = ["batch", 3, {SIDE}, {SIDE}] }}]
tensors.outputs = [{listed}]
dataset.kind = "coco"
dataset.classes = {classes}
{more}
"""
    return parse_recipe(text + (f"[detection]\n{detection}\n" if detection else ""), "boxes.toml")


def random_raw(seed: int, count: int, classes: int) -> tuple[Array, Array, Array]:
    """Return boxes (K, 4) cx cy w h that often overlap, objectness (K,) and scores (K, C), float32."""
    rng = np.random.default_rng(seed)
    middles = rng.choice(rng.uniform(10, 54, (6, 2)), count) + rng.normal(0, 1.5, (count, 2))
    sizes = rng.uniform(8, 24, (count, 2))
    scores = rng.uniform(0, 1, (count, classes)) ** 4
    return (
        np.concatenate([middles, sizes], axis=1).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        scores.astype(np.float32),
    )


def corners(box: Array) -> tuple[float, float, float, float]:
    """Return x1 y1 x2 y2 of cx cy w h."""
    x, y, wide, high = map(float, box)
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def slow_suppression(rows: list[Row], most_overlap: float, most: int) -> list[Row]:
    """Return what stays: each class by itself, a box goes that overlaps a better one that stays by more."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: -row[0]):
        if all(row[1] != other[1] or overlap(row[2], other[2]) <= most_overlap for other in kept):
            kept.append(row)
    return kept[:most]


def overlap(one: tuple[float, ...], two: tuple[float, ...]) -> float:
    """Return the intersection over the union of two boxes."""
    wide = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    high = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    whole = (one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - wide * high
    return wide * high / whole if whole > 0 else 1.0


def slow_rows(boxes: Array, scores: Array, least: float) -> list[Row]:
    """Return a row for each pair of a box (cx cy w h) and a class whose score exceeds ``least``."""
    return [
        (float(scores[box, kind]), kind, corners(boxes[box]))
        for box in range(len(boxes))
        for kind in range(scores.shape[1])
        if float(scores[box, kind]) > least
    ]
