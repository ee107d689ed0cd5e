"""Layout, dtype and channels of a recipe, from its images to batches, tensor files and the graph that takes pixels."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from modelport.core.errors import RecipeError, UsageError
from modelport.core.progress import Silent
from modelport.core.values import Sample
from modelport.data.prepare.transforms import Preprocess
from modelport.data.stream.feeding import feed
from modelport.data.stream.tensor_rows import row_form
from modelport.engines.ascend.aipp import wanted_constants
from modelport.engines.ascend.aipp_work import check_aipp, write_aipp
from modelport.jobs.preprocess import PreprocessRequest, preprocess
from modelport.model.graph.pixel_input import recipe_of_pixels, with_pixel_input
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.recipes.toml import toml_text
from modelport.stages.export import normalised, trial_pixels

DECODE = {"step": "decode", "color": "BGR", "exif_rotation": "ignore"}
SMALL = {"step": "resize", "width": 10, "height": 8, "interpolation": "bicubic"}
SUMS = [
    {"step": "multiply", "by": [1 / 255]},
    {"step": "subtract", "mean": [0.4, 0.5, 0.6]},
    {"step": "divide", "by": [0.3]},
]
ONE = [{"step": "normalize", "divide": 127.5, "mean": [1.0], "std": [1.0]}]


def recipe(color: str = "BGR", layout: str = "NCHW", dtype: str = "float32") -> Recipe:
    """Return a recipe of 10 × 8 pixels whose input is of this form."""
    channels = {"BGR": 3, "RGB": 3, "L": 1, "RGBA": 4}[color]
    last = {"step": "to_tensor", "layout": layout, "dtype": dtype}
    sums: list[dict[str, Any]] = [] if dtype == "uint8" else SUMS if channels == 3 else ONE
    content = load_recipe("moco-v2").to_json()
    content["preprocess"] = [DECODE | {"color": color}, SMALL, *sums, last]
    shape = ["batch", channels, 8, 10] if layout == "NCHW" else ["batch", 8, 10, channels]
    content["tensors"]["inputs"] = [{"name": "x", "dtype": dtype, "shape": shape}]
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (20 + number, 30, 4), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [Sample(path.stem, 0, path) for path in sorted(folder.iterdir())]


FORMS = [("BGR", "NCHW", "float32"), ("RGB", "NHWC", "float32"), ("L", "NCHW", "float16"), ("RGBA", "NHWC", "float16"),
         ("L", "NHWC", "uint8"), ("BGR", "NCHW", "uint8")]  # fmt: skip


@pytest.mark.parametrize(("color", "layout", "dtype"), FORMS)
def test_batches_are_the_networks_input(color: str, layout: str, dtype: str, images: list[Sample]) -> None:
    given = recipe(color, layout, dtype)
    prepare = Preprocess(given.preprocess)
    with closing(feed(given, images, 2, seed=0)) as batches:
        rows = [row for batch in batches for row in batch.inputs["x"][: len(batch.ids)]]
    spec = given.signature.inputs[0]
    for sample, row in zip(images, rows, strict=True):
        spec.check(row[None])
        np.testing.assert_array_equal(row, prepare.tensor(sample.read(), "x"))


@pytest.mark.parametrize(("color", "layout", "dtype"), FORMS)
def test_pixels_are_height_width_channels_unless_the_network_takes_bytes_itself(
    color: str, layout: str, dtype: str, images: list[Sample]
) -> None:
    given = recipe(color, layout, dtype)
    prepare = Preprocess(given.preprocess)
    with closing(feed(given, images, 5, seed=0, pixels=True)) as batches:
        (batch,) = batches
    for sample, row in zip(images, batch.inputs["x"], strict=True):
        pixels = prepare.pixels(sample.read(), "x")
        planes = dtype == "uint8" and layout == "NCHW"
        np.testing.assert_array_equal(row, pixels.transpose(2, 0, 1) if planes else pixels)


@pytest.mark.parametrize(("color", "layout"), [("BGR", "NCHW"), ("RGB", "NHWC"), ("L", "NCHW"), ("RGBA", "NHWC")])
def test_the_graph_that_takes_pixels_does_the_hosts_arithmetic(color: str, layout: str) -> None:
    given = recipe(color, layout)
    spec = given.signature.inputs[0]
    same = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(spec.shape)) for name in ("x", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["same"])], "nothing", same[:1], same[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with_pixels = with_pixel_input(model, given)
    onnx.checker.check_model(with_pixels, full_check=True)
    pixels = trial_pixels(given, 2)
    assert recipe_of_pixels(given).signature.inputs[0].shape == ("batch", *pixels.shape[1:])
    (got,) = ReferenceEvaluator(with_pixels).run(None, {"x": pixels})
    np.testing.assert_array_equal(np.asarray(got), normalised(given, pixels))
    offsets, factors = (np.array(part) for part in wanted_constants(given))
    exact = (pixels - offsets) * factors
    np.testing.assert_allclose(
        np.asarray(got), exact if layout == "NHWC" else exact.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_only_float32_can_be_normalised_in_the_graph(dtype: str) -> None:
    with pytest.raises(UsageError, match=f"the input of moco-v2 is {dtype}"):
        recipe_of_pixels(recipe("BGR", "NCHW", dtype))
    with pytest.raises(UsageError, match=f"--input-type float32: the input of moco-v2 is x: {dtype}"):
        row_form(recipe("BGR", "NCHW", dtype), "float32")


def test_bytes_need_no_aipp() -> None:
    with pytest.raises(RecipeError, match="takes bytes, and AIPP would hand it float16"):
        wanted_constants(recipe("BGR", "NHWC", "uint8"))


@pytest.mark.parametrize(("color", "layout", "dtype"), FORMS)
def test_tensor_files_hold_the_networks_input(
    color: str, layout: str, dtype: str, images: list[Sample], tmp_path: Path
) -> None:
    given = recipe(color, layout, dtype)
    (tmp_path / "x.toml").write_text(toml_text(given.to_json()))
    data = tmp_path / "data" / "images"
    data.mkdir(parents=True)
    for sample in images:
        (data / sample.path.name).write_bytes(sample.read())
    (data.parent / "val_label.txt").write_text("".join(f"{sample.path.name} 0\n" for sample in images))
    out = tmp_path / "out"
    preprocess(PreprocessRequest(str(tmp_path / "x.toml"), data.parent, out, format="npy"), Silent())
    index = json.loads((out / "index.json").read_text())
    assert (index["dtype"], index["layout"]) == (dtype, layout)
    prepare = Preprocess(given.preprocess)
    for entry in index["files"]:
        (sample,) = [sample for sample in images if [sample.id] == entry["ids"]]
        want = prepare.tensor(sample.read(), "x")
        np.testing.assert_array_equal(np.load(out / entry["file"]), want[None])
        assert list(want.shape) == index["shape"]


def test_an_aipp_file_tells_the_order_of_colours(tmp_path: Path) -> None:
    for color, said in (("BGR", True), ("RGB", False)):
        told = write_aipp(recipe(color), tmp_path / f"{color}.cfg")
        assert any("blue comes first" in note for note in told["notes"]) == said
        assert check_aipp(tmp_path / f"{color}.cfg", recipe(color), None)["clean"]
        text = (tmp_path / f"{color}.cfg").read_text().replace("rbuv_swap_switch: false", "rbuv_swap_switch: true")
        (tmp_path / "swapped.cfg").write_text(text)
        (finding,) = [
            finding
            for finding in check_aipp(tmp_path / "swapped.cfg", recipe(color), None)["findings"]
            if finding["level"] == "error"
        ]
        assert f"would get {color[::-1]} where the files hold {color}" in finding["found"]
