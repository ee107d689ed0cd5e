"""The JSON of the guides' accuracy scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelport.tasks.base import Task
from modelport.tasks.contrastive.pairs import PAIRS
from modelport.tasks.scoring import Score


def guide_json(task: Task, metrics: Mapping[str, Score], n: int) -> dict[str, Any]:
    """Return the table that the scripts write: strings only, the figures as the task spells them.

    The contrastive script prints its one figure (``accuracy_line``), the detector's three decimals; both stand in the
    same form here.
    """
    rows = [("Number of images", str(n)), *task.guide_rows(metrics)]
    value = [{"key": key, "value": text} for key, text in rows]
    return {"title": "Overall statistical evaluation", "value": value}


def guide_text(metrics: Mapping[str, Score]) -> str:
    """Return the lines of the detector's ``coco_detection_result.txt``: six figures, three decimals, -1 for none."""
    names = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
    values = [f"{metrics[name].value if name in metrics else -1.0:.3f}" for name in names]
    rows = [(f"bbox_{name}", str(float(value))) for name, value in zip(names, values, strict=True)]
    return "".join(f"{key}: {value}\n" for key, value in [*rows, ("bbox_mAP_copypaste", " ".join(values))])


def accuracy_line(figure: float, images: int) -> str:
    """Return the contrastive script's one line, with its digits; ``figure`` in percent of both views of ``images``.

    The script adds up the percentages of its batches of 128 pairs and divides once, in a double: so the figure is
    counted back to rows first, and the same division gives the same last digit.
    """
    rows = round(figure / 100.0 * 2 * images)
    return f"accuracy1 = {rows * (100.0 / (2 * PAIRS)) / (images / PAIRS)}"
