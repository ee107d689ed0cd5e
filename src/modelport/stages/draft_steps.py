"""The steps of a drafted recipe: as a library or a file tells them, else the usual ones for such an input."""

from __future__ import annotations

from typing import Any

from modelport.core.errors import UsageError
from modelport.model.architectures.preprocessing import Preprocessing
from modelport.recipes.draft import Line
from modelport.recipes.presets import PRESETS
from modelport.stages.describe import Described

# Mean and standard deviation of values in 0 to 1: ImageNet's, to [-1, 1], none.
IMAGENET: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF: dict[str, Any] = {"mean": [0.5], "std": [0.5]}
BYTES: dict[str, Any] = {"mean": [0.0], "std": [1.0]}
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}
USUAL = "imagenet/resize256-crop224-bilinear"


def steps_of_library(told: Preprocessing) -> Line:
    """Return the steps with which the library evaluates the published weights."""
    height, width = told.size
    decode = _decode(told.channels, f"{told.channels} channels")
    if told.stretched or height != width:
        resize = [{"step": "resize", "width": width, "height": height, "interpolation": told.interpolation}]
    else:
        resize = [
            {"step": "resize_shorter", "size": told.resize, "interpolation": told.interpolation},
            {"step": "center_crop", "size": height, "rounding": "half_even"},
        ]
    numbers = {"mean": list(told.mean), "std": list(told.std)}
    normalize = {"step": "normalize", "divide": 255.0, **numbers}
    return Line("preprocess", preset_of([decode, *resize, normalize]), f"as told of {told.weights}")


def steps_of(described: Described, metadata: dict[str, str]) -> Line:
    """Return the steps for an input of which nobody tells more, as a guess; what ``metadata`` tells is none.

    Raises UsageError for an input that is no image of one, three or four channels.
    """
    height, width, channels = described.image
    decode = _decode(channels, str(described.sample))
    preset = f"yolo/letterbox{height}"
    ultralytics = "Ultralytics" in metadata.get("author", "") + metadata.get("description", "")
    if ultralytics and preset in PRESETS and height == width:
        return Line("preprocess", preset, "the file is Ultralytics'")
    plain = described.layout == "NCHW" and described.sample.dtype == "float32"
    if plain and (height, width, channels) == (224, 224, 3):
        return Line("preprocess", USUAL, "the usual steps for such an input", guessed=True)
    resize = {"step": "resize", "width": width, "height": height, "interpolation": "bilinear"}
    steps, why = [decode, resize], "how images are resized"
    if described.sample.dtype != "uint8":
        numbers = BYTES if channels != 3 else IMAGENET if described.layout == "NCHW" else HALF
        steps.append({"step": "normalize", "divide": 255.0, **numbers})
        why += " and normalised"
    if not plain:
        steps.append({"step": "to_tensor", "layout": described.layout, "dtype": described.sample.dtype})
    return Line("preprocess", steps, why, guessed=True)


def _decode(channels: int, what: str) -> dict[str, Any]:
    if channels not in COLOURS:
        raise UsageError(f"{what}: no image has so many channels", "write the steps by hand (docs/preprocessing.md)")
    return {"step": "decode", "color": COLOURS[channels], "exif_rotation": "ignore"}


def preset_of(steps: list[dict[str, Any]]) -> Any:
    """Return the preset that is these very steps, else the steps."""
    return next((name for name, known in PRESETS.items() if known == steps), steps)
