"""What timm and torchvision say of how their networks want their images; nothing is fetched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from modelport.core.errors import RecipeError
from modelport.model.architectures.libraries import check_name, library


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How the published weights of a network were evaluated.

    ``resize`` is the shorter side in pixels before the crop of ``size``, as the library computes it; ``stretched``:
    both sides are resized to ``size`` and nothing is cropped.
    """

    channels: int
    size: tuple[int, int]  # height, width of the input
    resize: int
    crop_ratio: float  # size over resize, as the library tells it
    interpolation: str  # Pillow's name: bilinear, bicubic, …
    mean: tuple[float, ...]  # of values in 0 to 1, RGB
    std: tuple[float, ...]
    classes: int | None  # width of the output, where it is told
    weights: str  # which published weights these are
    stretched: bool = False


def preprocessing_of(architecture: str) -> Preprocessing:
    """Return what ``timm:NAME`` or ``torchvision:NAME`` says of its images.

    Raises RecipeError for an unknown name, a missing package, or a network for which nothing is published.
    """
    source, _, name = architecture.partition(":")
    if source not in ("timm", "torchvision"):
        raise RecipeError(f"{architecture}: no library tells its preprocessing", "give timm:NAME or torchvision:NAME")
    check_name(source, name)
    return _of_timm(name) if source == "timm" else _of_torchvision(name)


def _of_timm(name: str) -> Preprocessing:
    timm = library("timm")
    told = timm.models.get_pretrained_cfg(name)
    if told is None:
        raise RecipeError(f"timm tells no preprocessing of {name}", "write the steps in the recipe")
    config: dict[str, Any] = timm.data.resolve_model_data_config(None, pretrained_cfg=told.to_dict())
    channels, height, width = config["input_size"]
    return Preprocessing(
        channels,
        (height, width),
        # As timm.data.transforms_imagenet_eval computes it: the shorter of the sides, scaled up, rounded down.
        math.floor(min(height, width) / config["crop_pct"]),
        float(config["crop_pct"]),
        str(config["interpolation"]),
        tuple(map(float, config["mean"])),
        tuple(map(float, config["std"])),
        int(told.num_classes) or None,
        f"{told.architecture}.{told.tag}" if told.tag else str(told.architecture),
        config["crop_mode"] == "squash",
    )


def _of_torchvision(name: str) -> Preprocessing:
    enum = library("torchvision").get_model_weights(name)
    weights = getattr(enum, "DEFAULT", None) or next(iter(enum), None)
    if weights is None:
        raise RecipeError(f"torchvision publishes no weights of {name}", "write the steps in the recipe")
    told = weights.transforms()
    if not hasattr(told, "crop_size"):
        raise RecipeError(
            f"torchvision's {name} is no classifier: its transforms ({type(told).__name__}) crop to no size",
            "write the steps in the recipe",
        )
    crop, resize = told.crop_size[0], told.resize_size[0]
    return Preprocessing(
        len(told.mean),
        (crop, crop),
        resize,
        crop / resize,
        str(told.interpolation.value),
        tuple(map(float, told.mean)),
        tuple(map(float, told.std)),
        len(weights.meta.get("categories") or ()) or None,
        str(weights),
    )
