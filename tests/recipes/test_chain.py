"""Steps that do not go together are refused when the recipe is read, with the file and what to write instead."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest

from modelport.core.errors import RecipeError
from modelport.recipes.chain import affine
from modelport.recipes.load import parse_recipe
from modelport.recipes.operations import operations
from modelport.recipes.presets import PRESETS
from modelport.recipes.schema import Recipe
from modelport.recipes.toml import toml_text

TEXT = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")
Spelled = dict[str, Any]

DECODE = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
GREY = DECODE | {"color": "L"}
ARRAY = {"step": "decode_array", "channels": 3}
RAW = {"step": "decode_raw", "height": 224, "width": 224}
SHORTER = {"step": "resize_shorter", "size": 256, "interpolation": "bicubic"}
EXACT = {"step": "resize", "width": 224, "height": 224, "interpolation": "opencv_area"}
CROP = {"step": "center_crop", "size": 224, "rounding": "floor"}
BOX = {"step": "letterbox", "width": 224, "height": 224, "colour": [114], "placement": "center", "enlarge": True,
       "interpolation": "opencv_linear"}  # fmt: skip
FIT = {"step": "resize_to_fit", "width": 224, "height": 224, "interpolation": "opencv_bilinear"}
PAD = {"step": "pad_center", "width": 224, "height": 224}
TO_GREY = {"step": "grey", "by": "pillow", "channels": 1}
FLIP = {"step": "random_flip", "p": 0.5}
UNIT = {"step": "normalize", "divide": 255.0, "mean": [0.0], "std": [1.0]}
THREE = UNIT | {"mean": [0.5, 0.5, 0.5]}
BYTES = {"step": "to_tensor", "layout": "NCHW", "dtype": "uint8"}
LAST = {"step": "to_tensor", "layout": "NHWC", "dtype": "float32"}
HALF = {"step": "to_tensor", "layout": "NCHW", "dtype": "float16"}


def recipe(preprocess: Any, dtype: str = "float32", shape: str = "3, 224, 224") -> Recipe:
    before, _, rest = TEXT.partition("[[preprocess]]")
    text = before + rest[rest.index("[dataset]") :]
    text = text.replace(
        'dtype = "float32", shape = ["batch", 3, 224, 224]', f'dtype = "{dtype}", shape = ["batch", {shape}]'
    )
    return parse_recipe(toml_text({"preprocess": preprocess}) + text, "x.toml")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([DECODE, CROP], "must begin with decode and end with normalize"),
        ([DECODE, UNIT, CROP], "must begin with decode and end with normalize"),
        ([CROP, DECODE, UNIT], "must begin with decode and end with normalize"),
        ([DECODE, DECODE, UNIT], "once each"),
        ([DECODE, UNIT, UNIT], "once each"),
        ([DECODE, LAST, UNIT], "in this order"),
        ([DECODE, UNIT, LAST, LAST], "once each"),
        (
            [DECODE, CROP, UNIT, BYTES],
            "to_tensor in uint8 among .*bytes hold no normalised values; leave the arithmetic out",
        ),
        ([GREY, CROP, THREE], "normalize.mean has 3 numbers, where a pixel has 1 channels; give one number"),
        ([DECODE, TO_GREY, CROP, THREE], "normalize.mean has 3 numbers, where a pixel has 1 channels"),
        ([DECODE, CROP, {"step": "multiply", "by": [1.0, 2.0]}], "multiply.by has 2 numbers.* give one number, or 3"),
        ([DECODE | {"color": "RGBA"}, CROP, THREE], "a pixel has 4 channels; give one number, or 4"),
        (
            [DECODE, SHORTER, BOX, UNIT],
            "letterbox after resize_shorter: where the image lies would be lost; leave resize_shorter",
        ),
        ([DECODE, CROP, BOX, UNIT], "letterbox after center_crop"),
        ([DECODE, BOX, CROP, UNIT], "center_crop after letterbox cuts or scales what it has placed"),
        ([DECODE, BOX, BOX, UNIT], "letterbox after letterbox"),
        ([DECODE, BOX | {"colour": [1, 2]}, UNIT], "letterbox.colour has 2 numbers, where a pixel has 3 channels"),
        (
            [DECODE, SHORTER, CROP | {"size": 257}, UNIT],
            "center_crop of 257 after a shorter side of 256.*crop at most 256",
        ),
        ([DECODE, EXACT | {"width": 99}, CROP | {"size": 100}, UNIT], "center_crop of 100 after a shorter side of 99"),
        ([GREY, TO_GREY, UNIT], "grey of 1 channels; take grey of RGB or BGR only"),
        ([ARRAY, TO_GREY, UNIT], "'grey' after decode_array.*an array's channels are no colours"),
        ([ARRAY | {"channels": 5}, EXACT, UNIT], "opencv_area of 5 channels: OpenCV takes four at most"),
        ([DECODE, FLIP, UNIT], "'random_flip' after decode; random views begin with decode_raw"),
        ([RAW, CROP, UNIT], "'center_crop' after decode_raw"),
        ([RAW, FLIP, UNIT, LAST], "'to_tensor' after decode_raw"),
        ([DECODE, FIT, UNIT], "resize_to_fit and pad_center belong together"),
        ([DECODE, FIT, CROP, UNIT, PAD], "resize_to_fit and pad_center belong together"),
        ([DECODE, FIT | {"width": 225}, UNIT, PAD], "cannot hold the image; pad to at least"),
        ([GREY, FIT, UNIT, PAD], "resize_to_fit of 1 channels"),
        (
            [DECODE, CROP, UNIT | {"divide": 1e-3}, HALF],
            "reaches 2.55e[+]05, and float16 ends at 65504.*or write float32",
        ),
        (
            [DECODE, CROP, *[{"step": "multiply", "by": [1e20]}, {"step": "divide", "by": [1e-20]}]],
            "and float32 ends at",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(steps: list[Spelled], found: str) -> None:
    with pytest.raises(RecipeError, match=rf"x\.toml: preprocess: .*{found}"):
        recipe(steps)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([DECODE, BOX | {"color": [1]}, UNIT], r"preprocess\[1\]\.color: unknown key, did you mean 'colour'"),
        ([DECODE, BOX | {"colour": [256]}, UNIT], r"preprocess\[1\]\.colour"),
        (
            [DECODE, BOX | {"placement": "middle"}, UNIT],
            r"preprocess\[1\]\.placement: 'middle' is none of center, top_left",
        ),
        (
            [DECODE, EXACT | {"interpolation": "lanzcos"}, UNIT],
            r"interpolation: 'lanzcos' is none of .*did you mean 'lanczos'",
        ),
        ([DECODE, EXACT | {"interpolation": "opencv_lanczos"}, UNIT], r"did you mean 'opencv_lanczos4'"),
        ([DECODE, {"step": "letter_box"}, UNIT], r"preprocess\[1\].*did you mean 'letterbox'"),
        (
            [DECODE, {"step": "crop_by_ratio", "size": 224, "ratio": 1.5, "interpolation": "box"}, UNIT],
            r"\[1\]\.ratio: .*1",
        ),
        (
            [DECODE, {"step": "crop_by_ratio", "size": 224, "ratio": 0.01, "interpolation": "box"}, UNIT],
            "give a larger one",
        ),
        ([DECODE, CROP, {"step": "divide", "by": [0.0]}], r"preprocess\[2\]\.by.*nothing can be divided"),
        ([DECODE, CROP, {"step": "subtract", "mean": []}], r"preprocess\[2\]\.mean"),
        ([DECODE | {"color": "CMYK"}, UNIT], r"preprocess\[0\]\.color: 'CMYK' is none of RGB, BGR, L, RGBA"),
        ([ARRAY | {"channels": 0}, UNIT], r"preprocess\[0\]\.channels"),
        (
            [DECODE, CROP, UNIT, LAST | {"dtype": "int8"}],
            r"preprocess\[3\]\.dtype: 'int8' is none of float32, float16, uint8",
        ),
    ],
)
def test_a_slip_is_refused_with_its_place(steps: list[Spelled], found: str) -> None:
    with pytest.raises(RecipeError, match=rf"x\.toml: .*{found}"):
        recipe(steps)


@pytest.mark.parametrize(
    ("steps", "dtype", "shape"),
    [
        ([DECODE, CROP, UNIT], "float16", "3, 224, 224"),
        ([DECODE, CROP, UNIT], "float32", "1, 224, 224"),
        ([DECODE, CROP, UNIT], "float32", "224, 224, 3"),
        ([DECODE, CROP, UNIT], "float32", "3, 224"),
        ([DECODE, CROP, UNIT, LAST], "float32", "3, 224, 224"),
        ([DECODE, CROP, BYTES], "float32", "3, 224, 224"),
        ([GREY, CROP, UNIT], "float32", "3, 224, 224"),
        ([DECODE, CROP | {"size": 225}, UNIT], "float32", "3, 224, 224"),
        ([DECODE, EXACT | {"height": 192}, UNIT], "float32", "3, 224, 192"),
    ],
)
def test_steps_that_make_another_input_than_the_networks_are_refused(
    steps: list[Spelled], dtype: str, shape: str
) -> None:
    made = r"preprocess makes (float32|float16|uint8) \([0-9HW, ]+\) of an image, the input is actual_input_1"
    with pytest.raises(RecipeError, match=rf"x\.toml: .*{made}: {dtype} \(batch, {shape}\); mend tensors\.inputs"):
        recipe(steps, dtype, shape)


@pytest.mark.parametrize(
    ("steps", "dtype", "shape"),
    [
        ([DECODE, CROP, UNIT, LAST], "float32", "224, 224, 3"),
        ([DECODE, CROP, UNIT, HALF], "float16", "3, 224, 224"),
        ([DECODE, CROP, BYTES], "uint8", "3, 224, 224"),
        ([DECODE, CROP, BYTES | {"layout": "NHWC"}], "uint8", "224, 224, 3"),
        ([GREY, CROP, UNIT], "float32", "1, 224, 224"),
        ([DECODE | {"color": "RGBA"}, CROP, UNIT], "float32", "4, 224, 224"),
        ([ARRAY | {"channels": 12}, CROP, UNIT], "float32", "12, 224, 224"),
        ([DECODE, TO_GREY, BOX, UNIT], "float32", "1, 224, 224"),
        ([DECODE, BOX | {"colour": [1, 2, 3]}, TO_GREY | {"channels": 3}, UNIT], "float32", "3, 224, 224"),
        ([DECODE, SHORTER, UNIT], "float32", "3, 224, 224"),
    ],
)
def test_what_goes_together_is_read_and_shown_whole(steps: list[Spelled], dtype: str, shape: str) -> None:
    read = recipe(steps, dtype, shape)
    assert read.to_json()["preprocess"] == steps
    assert parse_recipe(toml_text(read.to_json()), "y.toml").digest == read.digest


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_as_its_steps(name: str) -> None:
    steps = PRESETS[name]
    sizes = [step.get("size") or step.get("width") for step in steps]
    side = [size for size in sizes if size][-1]
    channels = 1 if steps[0]["color"] == "L" else 3
    read = recipe(name, "float32", f"{channels}, {side}, {side}")
    assert read.to_json()["preprocess"] == steps
    assert read.digest == recipe(steps, "float32", f"{channels}, {side}, {side}").digest


def test_a_preset_in_a_variant_is_expanded_too() -> None:
    variant = '\n[variants.clip]\nabout = "x"\nchanges = { preprocess = "clip/224" }\n'
    changed = parse_recipe(TEXT + variant, "x.toml").with_variant("clip")
    assert changed.to_json()["preprocess"] == PRESETS["clip/224"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("imagenet/resize256-crop224-bilinaer", "did you mean 'imagenet/resize256-crop224-bilinear' or "),
        ("imagenet/resize255-crop224-bicubic", "did you mean 'imagenet/resize256-crop224-bicubic' or "),
        ("yolo/640", "did you mean 'yolo/letterbox640' or "),
        ("zzz", "known are caffe/…, clip/…, half/…, imagenet/…, mnist/…, timm/…, yolo/…"),
    ],
)
def test_an_unknown_preset_names_the_near_ones(given: str, found: str) -> None:
    with pytest.raises(RecipeError, match=rf"x\.toml: preprocess: no preset named '{given}'; {re.escape(found)}"):
        recipe(given)


def test_all_arithmetic_is_one_scale_and_shift_a_channel() -> None:
    steps = recipe([DECODE, CROP, {"step": "divide", "by": [2.0]}, {"step": "subtract", "mean": [1.0, 2.0, 3.0]},
                    {"step": "multiply", "by": [4.0]}]).preprocess  # fmt: skip
    assert [operation.name for operation in operations(steps)] == ["divide", "subtract", "multiply"]
    offsets, divisors = affine(steps)
    for pixel in (0, 17, 255):
        got = [(pixel - offset) / divisor for offset, divisor in zip(offsets, divisors, strict=True)]
        assert got == [(pixel / 2 - mean) * 4 for mean in (1, 2, 3)]
