"""COCO's figures by pycocotools itself."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


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
