"""``probe`` on small pictures that a linear net tells apart: what is planted into the recipe is what it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Answer, Call, fit_null
from made_detector import NAMES, draw_squares, write_detector
from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.diagnose.probe.tally import Tally
from modelport.diagnose.probe.trials import Trials
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

CLASSES = 10
RECIPE = """
schema = "modelport.recipe/1"
name = "small"
task = "classification"
model.architecture = "null"
metrics = ["top1"]
tensors.inputs = [{ name = "image", dtype = "float32", shape = ["batch", 3, 32, 32] }]
tensors.outputs = [{ name = "logits", dtype = "float32", shape = ["batch", 10] }]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "apply" },
    { step = "resize_shorter", size = 36, interpolation = "bilinear" },
    { step = "center_crop", size = 32, rounding = "half_even" },
    { step = "normalize", divide = 255.0, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] },
]
dataset.kind = "imagenet"
dataset.classes = 10
dataset.label_offset = 0
"""


def _picture(label: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture of 40 × 48 pixels, lying: bands of colours of its class, under much noise."""
    own = np.random.default_rng(label)
    bands = own.uniform(60, 195, (5, 1, 3)).repeat(8, axis=0).repeat(48, axis=1)
    pixels = bands + rng.normal(0, 30, (1, 1, 3)) + rng.normal(0, 40, (5, 1, 3)).repeat(8, axis=0)
    return Image.fromarray((pixels + rng.normal(0, 20, (40, 48, 3))).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe, its data and weights. Every fifth picture is stored turned, with the EXIF tag that says so."""
    folder, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    (folder / "data" / "val").mkdir(parents=True)
    lines = []
    for row in range(128):
        picture = _picture(row % CLASSES, rng)
        tags = Image.Exif()
        if row % 5 == 0:
            picture, tags[0x0112] = picture.transpose(Image.Transpose.ROTATE_90), 6
        picture.save(folder / "data" / "val" / f"{row:04d}.png", exif=tags)
        lines.append(f"{row:04d}.png {row % CLASSES}\n")
    (folder / "data" / "val_label.txt").write_text("".join(lines))
    for label in range(CLASSES):
        (folder / "data" / "train" / f"n{label}").mkdir(parents=True)
        for row in range(30):
            _picture(label, rng).save(folder / "data" / "train" / f"n{label}" / f"{row}.png")
    (folder / "small.toml").write_text(RECIPE)
    fit_null(load_recipe(str(folder / "small.toml")), folder / "data", folder / "small.npz", ridge=0.05)
    return folder


def planted(small: Path, tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "planted.toml").write_text(text)
    return tmp_path / "planted.toml"


def probe(call: Call, small: Path, recipe: Path, tmp_path: Path, *more: object) -> Answer:
    words = ("--weights", small / "small.npz", "--data", small / "data", "--out", tmp_path / "out", "--limit", 64)
    return call("probe", recipe, *words, "--json", *more)


def named(told: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the explanation, and what cannot be told from it."""
    found = told["explanation"]
    return set() if found is None else {(row["change"], row["value"]) for row in [found, *found["alike"]]}


MEAN_STD = "mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]"
PLANTS = {
    "colour": (("RGB", "BGR"), ("channel_order", "RGB")),
    "exif": (('exif_rotation = "apply"', 'exif_rotation = "ignore"'), ("exif_rotation", "apply")),
    "divide": (("divide = 255.0", "divide = 1.0"), ("divide", "255")),
    "none": ((MEAN_STD, "mean = [0.0], std = [1.0]"), ("mean_std", "imagenet")),
    "squash": (
        ('"resize_shorter", size = 36', '"resize", width = 144, height = 36'),
        ("crop_ratio", "0.875"),
    ),
    "offset": (("label_offset = 0", "label_offset = 1"), ("label_offset", "0")),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_named(plant: str, small: Path, call: Call, tmp_path: Path) -> None:
    change, wanted = PLANTS[plant]
    answer = probe(call, small, planted(small, tmp_path, change), tmp_path)
    assert answer.code == 0, answer
    told = answer.json
    assert wanted in named(told), [row for row in told["tried"] if row["delta"]][:5]
    assert told == json.loads((tmp_path / "out" / "probe.json").read_text())
    assert (told["schema"], told["held_against"]) == ("modelport.probe/1", "labels")
    assert told["confidence"] > 0.95 and told["explanation"]["lines"]
    first = told["tried"][0]
    assert first["delta"] > 0 and first["interval"][0] <= first["delta"] <= first["interval"][1]


def test_of_a_healthy_recipe_none_explains(small: Path, call: Call, tmp_path: Path) -> None:
    answer = probe(call, small, small / "small.toml", tmp_path)
    told = answer.json
    assert answer.code == 0 and told["explanation"] is None and told["confidence"] == 0.95
    assert told["baseline"]["metric"]["value"] > 60 and told["baseline"]["n"] == 64
    assert len(told["tried"]) > 30 and told["environment"]["packages"]
    again = probe(call, small, small / "small.toml", tmp_path)
    again.refused("--force")


@pytest.mark.parametrize("limit", [64, 1000])
def test_samples_are_drawn_also_where_all_are_taken(
    limit: int, small: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def stop(trials: Trials, tallies: Sequence[Tally], stop: int) -> None:
        seen.extend(sample.id for sample in trials.samples)
        raise DataError("that is enough", "go on")

    monkeypatch.setattr(Trials, "extend", stop)
    probe(call, small, small / "small.toml", tmp_path, "--limit", limit).refused("that is enough")
    assert len(set(seen)) == len(seen) == min(limit, 128) and seen != sorted(seen)


def test_the_lines_that_are_told_mend_the_recipe(small: Path, call: Call, tmp_path: Path) -> None:
    recipe = planted(small, tmp_path, PLANTS["colour"][0])
    lines = probe(call, small, recipe, tmp_path).json["explanation"]["lines"]
    head, _, rest = recipe.read_text().partition("preprocess = [")
    recipe.write_text(head + "\n".join(lines) + rest.partition("\n]")[2])
    assert load_recipe(str(recipe)).preprocess == load_recipe(str(small / "small.toml")).preprocess


def test_labels_beside_the_images_and_none(small: Path, call: Call, tmp_path: Path) -> None:
    recipe = planted(small, tmp_path, PLANTS["colour"][0])
    images = tmp_path / "images"
    shutil.copytree(small / "data" / "val", images)
    words = ("--weights", small / "small.npz", "--data", images, "--out", tmp_path / "out", "--limit", 64, "--json")
    labelled = call("probe", recipe, *words, "--labels", small / "data" / "val_label.txt")
    assert labelled.code == 0 and ("channel_order", "RGB") in named(labelled.json)
    bare = call("probe", recipe, *words, "--force")
    told = bare.json
    assert told["held_against"] == "confidence" and told["baseline"]["metric"] is None
    assert any("looked at without labels" in note for note in told["notes"])
    assert any("no labels and no source" in note for note in told["notes"])
    assert bare.code == (3 if told["explanation"] is None else 0)


def test_saved_outputs_are_probed_without_a_model(small: Path, call: Call, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    truth = dict(line.split() for line in (small / "data" / "val_label.txt").read_text().splitlines())
    rng = np.random.default_rng(0)
    for name, label in truth.items():
        scores = rng.normal(0, 1, (1, CLASSES)).astype(np.float32)
        scores[0, (int(label) + 3) % CLASSES] += 4
        np.save(tmp_path / "saved" / f"{Path(name).stem}_0.npy", scores)
    words = ("probe", small / "small.toml", "--results", tmp_path / "saved", "--data", small / "data", "--json")
    answer = call(*words, "--out", tmp_path / "out")
    assert answer.code == 0, answer
    told = answer.json
    assert named(told) == {("class_order", "permutation")} and told["runs"] == 0
    assert {row["change"] for row in told["tried"]} <= {"label_offset", "class_order", "softmax"}
    call(*words, "--out", tmp_path / "o", "--model", "m.onnx").refused("--results and --model")
    images = tmp_path / "images"
    shutil.copytree(small / "data" / "val", images)
    bare = ("probe", small / "small.toml", "--results", tmp_path / "saved", "--data", images)
    call(*bare, "--out", tmp_path / "o").refused("--results without labels", "--labels")


def test_what_does_not_go_together_is_refused(small: Path, call: Call, tmp_path: Path) -> None:
    words = ("probe", small / "small.toml", "--data", small / "data", "--out", tmp_path / "out")
    weights = ("--weights", small / "small.npz")
    call(*words, *weights, "--tensors", tmp_path).refused("--tensors", "--results")
    call(*words, *weights, "--engine", "null").refused("--engine null", "--model")
    call(*words, "--source", "none").refused("--source none")
    call(*words, "--model", "m.onnx", "--checkpoint-key", "ema").refused("--checkpoint-key ema", "--weights")
    flat = ("probe", small / "small.toml", *weights, "--data", small / "data" / "val", "--out", tmp_path / "out")
    call(*flat, "--labels", tmp_path / "none.txt").refused("none.txt: No such file")
    assert not (tmp_path / "out" / "probe.json").exists()


def wired(recipe: Recipe, path: Path, out: Path) -> Path:
    """Write the null net as an ONNX file whose first node reads the bytes as NHWC, as if nothing had been moved."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights: Array = np.load(path)["logits"]
    # The means of the engine's 64 parts, as one matrix.
    size = 3 * 32 * 32
    edges = np.linspace(0, size, 64, endpoint=False).astype(int)
    means = np.zeros((size, 64))
    for part, (start, stop) in enumerate(zip(edges, [*edges[1:], size], strict=True)):
        means[start:stop, part] = 1 / (stop - start)
    tensors = {"map": means @ weights[:64], "shift": weights[64], "as": np.array([0, 32, 32, 3])}
    nodes = [
        helper.make_node("Reshape", ["image", "as"], ["read"]),
        helper.make_node("Transpose", ["read"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Flatten", ["planes"], ["flat"]),
        helper.make_node("Gemm", ["flat", "map", "shift"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(array.astype(np.int64 if name == "as" else np.float32), name)
            for name, array in tensors.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(out))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_a_model_in_another_layout_is_told_by_labels_or_by_the_source(
    labelled: bool, small: Path, call: Call, tmp_path: Path
) -> None:
    model = wired(load_recipe(str(small / "small.toml")), small / "small.npz", tmp_path / "net.onnx")
    data = small / "data" if labelled else tmp_path / "images"
    if not labelled:
        shutil.copytree(small / "data" / "val", data)
    words = ("--model", model, "--weights", small / "small.npz", "--data", data, "--out", tmp_path / "out")
    answer = call("probe", small / "small.toml", *words, "--limit", 64, "--json")
    assert answer.code == 0, answer
    told = answer.json
    assert named(told) == {("layout", "NHWC bytes")}
    assert told["held_against"] == ("labels" if labelled else "agreement") and told["source"]
    assert told["explanation"]["lines"] == [] and "NHWC" in told["explanation"]["mend"]
    if not labelled:
        assert any("no labels" in note for note in told["notes"])
        assert told["baseline"]["metric"]["name"] == "source_agreement"


DETECTOR = """
schema = "modelport.recipe/1"
name = "squares"
task = "detection"
metrics = ["mAP", "mAP_50"]
tensors.inputs = [{ name = "images", dtype = "float32", shape = ["batch", 3, 64, 64] }]
tensors.outputs = [{ name = "output0", dtype = "float32", shape = ["batch", 7, 16] }]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "apply" },
    { step = "resize", width = 64, height = 64, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] },
]
dataset.kind = "yolo"
dataset.classes = 3
dataset.names = ["red", "green", "blue"]
[detection]
form = "yolov8"
score_threshold = 0.1
"""
BOXES = {
    "boxes": ('form = "yolov8"', 'form = "yolov8"\nboxes = "xyxy"', ("boxes", "cxcywh")),
    "healthy": ("", "", None),
}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    write_detector(folder / "squares.onnx")
    draw_squares(folder / "set", "val", 24, 0)
    assert len(NAMES) == 3
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("plant", BOXES)
def test_how_boxes_are_read_is_named(plant: str, squares: Path, call: Call, tmp_path: Path) -> None:
    old, new, wanted = BOXES[plant]
    recipe = tmp_path / "squares.toml"
    recipe.write_text(DETECTOR.replace(old, new) if old else DETECTOR)
    words = ("--model", squares / "squares.onnx", "--data", squares / "set", "--out", tmp_path / "out")
    answer = call("probe", recipe, *words, "--json")
    assert answer.code == 0, answer
    told = answer.json
    assert named(told) == ({wanted} if wanted else set())
    assert told["baseline"]["evidence"]["of"] == "mAP of the image alone"
    # Of a figure that is no mean of samples the interval is corrected for nothing.
    assert any("by resamples" in note for note in told["notes"]) == (wanted is not None)
    if wanted:
        assert told["tried"][0]["interval"][0] <= told["tried"][0]["delta"] <= told["tried"][0]["interval"][1]
