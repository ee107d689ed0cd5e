"""Random annotations of things in COCO's form, and answers that nearly meet them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.tasks.base import Task
from modelport.tasks.scoring import Figures, Rows

CATEGORIES = ((3, "car"), (1, "dog"), (9, "kite"))
SIZES = ((120, 160), (96, 96), (150, 90), (64, 128))


def drawn_things(seed: int, points: int = 0) -> dict[str, Any]:
    """Return a file's content: stars as polygons, some encoded, some crowds; ``points`` keypoints where above 0."""
    rng = np.random.default_rng(seed)
    content: dict[str, Any] = {
        "images": [
            {"id": 10 + 3 * place, "width": width, "height": height, "file_name": f"{10 + 3 * place}.png"}
            for place, (height, width) in enumerate(SIZES)
        ],
        "categories": [{"id": number, "name": name} for number, name in sorted(CATEGORIES)],
        "annotations": [],
    }
    for image in content["images"]:
        for _ in range(int(rng.integers(2, 6))):
            radius = rng.uniform(6, 45)
            middle = rng.uniform(10, [image["width"] - 10, image["height"] - 10])
            star = star_at(middle, radius)
            star = np.clip(star, 0, [image["width"], image["height"]])
            low, size = star.min(axis=0), np.ptp(star, axis=0)
            row = {
                "id": len(content["annotations"]) + 1,
                "image_id": image["id"],
                "category_id": int(rng.choice([number for number, _ in CATEGORIES])),
                "bbox": [*low.tolist(), *size.tolist()],
                "area": float(size.prod() * 0.6),
                "iscrowd": 0,
                "segmentation": [star.ravel().tolist()],
            }
            if points:
                places = middle + rng.normal(0, radius / 2, (points, 2))
                seen = rng.integers(0, 3, (points, 1)) * (rng.random() < 0.9)
                row["keypoints"] = np.concatenate([places, seen], axis=1).ravel().tolist()
                row["num_keypoints"] = int((seen > 0).sum())
            content["annotations"].append(row)
    content["annotations"][1]["iscrowd"] = 1
    return content


def star_at(middle: Array, radius: float) -> Array:
    """Return a star (10, 2)."""
    angles = np.arange(10) * np.pi / 5
    distance = radius * np.where(np.arange(10) % 2, 0.6, 1.0)
    return np.stack([middle[0] + distance * np.sin(angles), middle[1] - distance * np.cos(angles)], axis=1)


def hold_that_figures_are_counted_anew(task: Task, rows: Rows) -> tuple[Figures, list[dict[str, Any]]]:
    """Hold that the lines of both files give the scorer's figures again, and each image once the same over resamples.

    Returns the figures and the lines of samples.jsonl.
    """
    scorer = task.scorer(True)
    lines = [json.loads(json.dumps(line, allow_nan=False)) for line in scorer.take(rows)]
    judged = [task.judged(line, target).to_json("mAP") for line, target in zip(lines, rows.targets, strict=True)]
    samples = [json.loads(json.dumps(one, allow_nan=False)) for one in judged]
    figures, again = scorer.figures(), task.recount(zip(lines, samples, strict=True))
    assert again is not None and figures.source is not None and figures.resampled is not None
    assert again.resampled is not None and again.resampled.work == figures.resampled.work
    once = figures.resampled.figures(np.ones(len(lines), np.int64))
    assert again.resampled.figures(np.ones(len(lines), np.int64)) == once
    for side, anew, resampled in zip(
        (figures.metrics, figures.source), (again.metrics, again.source), once, strict=True
    ):
        want = {name: score.value for name, score in side.items()}
        assert anew == pytest.approx(want, abs=1e-9)
        assert {name: resampled[name] for name in want if name in resampled} == pytest.approx(
            {name: value for name, value in want.items() if name in resampled}, abs=1e-9
        )
    assert figures.resampled.images == len(lines) and len(once[0]) >= 2
    assert again.metrics != again.source and figures.resampled.differ > 0
    for sample in samples:
        assert all(0 <= share <= 1 for share in sample.get("values", {"surrogate": []})["surrogate"])
    return figures, samples
