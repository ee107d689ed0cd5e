"""A missing or doubled division shows in the range of the inputs; what networks are trained on raises no alarm."""

from __future__ import annotations

import pytest

from modelport.recipes.input_range import odd_input_range
from modelport.recipes.load import load_recipe
from modelport.recipes.steps import Normalize

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BYTES = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["moco-v2", "inception-v4", "smlp-t", "simclr", "nas-fpn"])
def test_the_five_recipes_raise_no_alarm(name: str) -> None:
    recipe = load_recipe(name)
    assert odd_input_range(recipe) is None
    for variant in recipe.variants:
        assert odd_input_range(recipe.with_variant(variant)) is None


@pytest.mark.parametrize(
    ("divide", "numbers", "said"),
    [
        (1.0, IMAGENET, "from -2.118 to 1136"),
        (1.0, HALF, "from -1 to 509"),
        (65025.0, IMAGENET, "pixels of 0 to 255"),
        (255.0, BYTES, "pixels of 0 to 255"),
        (255.0, ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)), "pixels of 0 to 255"),
        (255.0, IMAGENET, None),
        (1.0, BYTES, None),
        (1.0, NONE, None),
        (255.0, NONE, None),
        (127.5, ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), None),
        # Caffe's networks take bytes less the mean.
        (1.0, ((103.9, 116.8, 123.7), (1.0, 1.0, 1.0)), None),
    ],
)
def test_what_is_odd_is_told(
    divide: float, numbers: tuple[tuple[float, ...], tuple[float, ...]], said: str | None
) -> None:
    recipe = load_recipe("moco-v2")
    mean, std = numbers
    step = Normalize.model_validate({"step": "normalize", "divide": divide, "mean": mean, "std": std})
    kept = [step if isinstance(old, Normalize) else old for old in recipe.preprocess]
    told = odd_input_range(recipe.model_copy(update={"preprocess": kept}))
    assert (told is None) == (said is None)
    if said is not None and told is not None:
        assert said in told
