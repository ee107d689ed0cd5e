"""Preprocessing and data sets by name: what published models were trained and measured with, read as steps and keys."""

from __future__ import annotations

import difflib
from typing import Any

Steps = list[dict[str, Any]]

# (mean, std) of pixels of 0 to 1.
Numbers = tuple[list[float], list[float]]
IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5] * 3, [0.5] * 3
CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
MNIST = [0.1307], [0.3081]
AS_IT_IS = [0.0], [1.0]
# The means of ImageNet's bytes, blue first, that Caffe's networks were trained on.
CAFFE_MEAN = [103.939, 116.779, 123.68]
# Ultralytics' grey.
GREY = [114, 114, 114]

_STRETCHED: Steps = [
    {"step": "resize", "width": 256, "height": 256, "interpolation": "bilinear"},
    {"step": "center_crop", "size": 224, "rounding": "floor"},
]
_RGB: dict[str, Any] = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
# (shorter side, crop) of torchvision's weights and of the usual evaluation scripts.
_SIZES = ((224, 224), (232, 224), (256, 224), (256, 240), (256, 256), (299, 299), (342, 299), (384, 384))
# (size, crop_pct) of timm's models.
_RATIOS = ((224, "0.875"), (224, "0.9"), (224, "0.95"), (224, "1.0"), (288, "0.95"), (288, "1.0"), (384, "1.0"))
_FAMILIES = {"imagenet": IMAGENET, "half": HALF}
# The full sets of published figures, as the table ``dataset`` has them.
SETS: dict[str, dict[str, Any]] = {
    "imagenet-1k": {
        "kind": "imagenet",
        "classes": 1000,
        "published_n": 50_000,
        "published_ids": "(n[0-9]{8}/)?ILSVRC2012_val_[0-9]{8}",
    },
    "coco-2017": {"kind": "coco", "classes": 80, "published_n": 5_000, "published_ids": "[0-9]{12}"},
}


def expanded(given: Any) -> Any:
    """Return the steps of a preset's name; anything else as it is. Raises ValueError for an unknown name."""
    if not isinstance(given, str):
        return given
    if given not in PRESETS:
        near = difflib.get_close_matches(given.lower(), PRESETS, n=3, cutoff=0.4)
        families = sorted({name.partition("/")[0] + "/…" for name in PRESETS})
        known = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known are {', '.join(families)}:"
        raise ValueError(f"no preset named '{given}'; {known} docs/preprocessing.md lists them")
    return PRESETS[given]


def known_set(given: Any) -> Any:
    """Return the keys of a known set's name; anything else as it is. Raises ValueError for an unknown name."""
    if isinstance(given, str) and given not in SETS:
        raise ValueError(f"no data set named '{given}'; known are {', '.join(SETS)}; or give a table with kind")
    return SETS[given] if isinstance(given, str) else given


def _normalize(numbers: Numbers) -> dict[str, Any]:
    return {"step": "normalize", "divide": 255.0, "mean": numbers[0], "std": numbers[1]}


def _cropped(shorter: int, crop: int, interpolation: str) -> Steps:
    return [
        {"step": "resize_shorter", "size": shorter, "interpolation": interpolation},
        {"step": "center_crop", "size": crop, "rounding": "half_even"},
    ]


def _by_ratio(size: int, ratio: str) -> Steps:
    return [{"step": "crop_by_ratio", "size": size, "ratio": float(ratio), "interpolation": "bicubic"}]


def _yolo(side: int) -> Steps:
    box: dict[str, Any] = {"step": "letterbox", "width": side, "height": side, "colour": GREY, "placement": "center"}
    box |= {"enlarge": True, "interpolation": "opencv_linear"}
    return [_RGB | {"exif_rotation": "apply"}, box, _normalize(AS_IT_IS)]


def _all() -> dict[str, Steps]:
    made: dict[str, Steps] = {}
    for family, numbers in _FAMILIES.items():
        for shorter, crop in _SIZES:
            for name in ("bilinear", "bicubic"):
                steps = [_RGB, *_cropped(shorter, crop, name), _normalize(numbers)]
                made[f"{family}/resize{shorter}-crop{crop}-{name}"] = steps
        for size, ratio in _RATIOS:
            made[f"timm/{size}-pct{ratio}-{family}"] = [_RGB, *_by_ratio(size, ratio), _normalize(numbers)]
    for size in (224, 336):
        made[f"clip/{size}"] = [_RGB, *_cropped(size, size, "bicubic"), _normalize(CLIP)]
    for side in (320, 416, 640, 1280):
        made[f"yolo/letterbox{side}"] = _yolo(side)
    made["imagenet/resize256-crop224-lanczos"] = [_RGB, *_cropped(256, 224, "lanczos"), _normalize(IMAGENET)]
    made["imagenet/stretch256-crop224-bilinear"] = [_RGB, *_STRETCHED, _normalize(IMAGENET)]
    blue_first = _RGB | {"color": "BGR"}
    means = {"step": "subtract", "mean": CAFFE_MEAN}
    made["caffe/resize256-crop224-bilinear"] = [blue_first, *_cropped(256, 224, "bilinear"), means]
    grey, small = _RGB | {"color": "L"}, {"step": "resize", "width": 28, "height": 28, "interpolation": "bilinear"}
    made["mnist/28"] = [grey, small, _normalize(MNIST)]
    return made


PRESETS = _all()
