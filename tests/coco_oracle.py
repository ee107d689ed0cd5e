"""COCO's figures by pycocotools itself, and drawn annotations with boxes near them."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from modelport.core.values import Truth
from modelport.tasks.detection.coco_map import CocoMap


def by_pycocotools(
    content: dict[str, Any], results: list[dict[str, Any]], kind: str, sigmas: list[float] | None = None
) -> list[float]:
    """Return what pycocotools' ``summarize`` begins with: AP, AP50, AP75, and AP of the areas; −1 for none.

    ``kind`` is segm or keypoints.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(content))
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[: 6 if kind == "segm" else 5]]


def drawn_boxes(seed: int, images: int, per_image: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return annotations and detections near them: crowds, ties of scores, empty images, more than 100 boxes."""
    rng = np.random.default_rng(seed)
    content: dict[str, Any] = {
        "images": [{"id": 3 + 7 * image} for image in range(images)],
        "categories": [{"id": number, "name": f"c{number}"} for number in (2, 5, 11)],
        "annotations": [],
    }
    results = []
    for image in content["images"]:
        for _ in range(rng.integers(0, 6)):
            box = np.concatenate([rng.uniform(0, 200, 2), rng.uniform(3, 150, 2)]).round(1).tolist()
            row = {"image_id": image["id"], "category_id": int(rng.choice([2, 5, 11])), "bbox": box}
            more = {"id": len(content["annotations"]) + 1, "area": box[2] * box[3] * 0.8}
            content["annotations"].append(row | more | {"iscrowd": int(rng.random() < 0.15)})
            for _ in range(per_image):
                near = (np.array(box) * rng.uniform(0.85, 1.15, 4)).tolist()
                score = float(rng.integers(1, 20)) / 20
                results.append({**row, "bbox": near, "score": score})
                if rng.random() < 0.2:
                    results[-1]["category_id"] = 5
    return content, results


def truth(image: int, rows: list[dict[str, Any]]) -> Truth:
    return Truth(
        image,
        np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
        np.array([row["category_id"] for row in rows], np.int64),
        np.array([row["iscrowd"] for row in rows], np.bool_),
        np.array([row["area"] for row in rows], np.float64),
    )


def categories(content: dict[str, Any]) -> list[tuple[int, str]]:
    return [(row["id"], row["name"]) for row in content["categories"]]


def added(
    metric: CocoMap, content: dict[str, Any], results: list[dict[str, Any]], images: list[int] | None = None
) -> CocoMap:
    index = {number: place for place, (number, _) in enumerate(categories(content))}
    for image in [row["id"] for row in content["images"]] if images is None else images:
        own = [row for row in results if row["image_id"] == image]
        boxes = np.array([row["bbox"] for row in own], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        metric.add(
            truth(image, [row for row in content["annotations"] if row["image_id"] == image]),
            boxes,
            np.array([row["score"] for row in own]),
            np.array([index[row["category_id"]] for row in own], np.int64),
        )
    return metric
