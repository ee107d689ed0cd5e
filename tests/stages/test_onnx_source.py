"""An ONNX file as the source: what it proves, what it does not, and the signatures that files have in the world."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import Call, Exported

Edit = Callable[[Any], None]
INPUT, OUTPUT = "actual_input_1", "output1"


@pytest.fixture
def graph(exported_tiny: Exported, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the exported tiny network, edited."""

    def write(*edits: Edit, opset: int | None = None) -> Path:
        artifact, _ = exported_tiny() if opset is None else exported_tiny(opset)
        model = onnx.load(str(artifact.path))
        for edit in edits:
            edit(model)
        path = tmp_path / "given.onnx"
        onnx.save(model, str(path))
        return path

    return write


@pytest.fixture
def run(
    call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path, few_samples: tuple[str, int, str, int]
) -> Callable[..., Any]:
    def run(*words: object, recipe: Path = tiny_path) -> Any:
        common = ("--data", tiny_data, *few_samples, "--out", tmp_path / "out", "--force", "--json")
        return call("run", recipe, *common, *words)

    return run


def _edited(recipe: Path, folder: Path, *changes: tuple[str, str]) -> Path:
    text = recipe.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "edited.toml").write_text(text)
    return folder / "edited.toml"


def _fixed(batch: int) -> Edit:
    def edit(model: Any) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch

    return edit


@pytest.mark.slow
def test_a_file_alone_defines_the_right_answer(graph: Callable[..., Path], run: Callable[..., Any]) -> None:
    path = graph()
    answer = run("--model", path, "--engine", "openvino")
    assert (answer.code, answer.json["verdict"]) == (0, "pass")
    assert answer.json["source"]["kind"] == "onnx" and answer.json["source"]["path"] == str(path)
    assert answer.json["metrics"]["source_agreement"]["value"] == 100.0
    assert any("not that they are the published model's" in note for note in answer.json["notes"])
    assert "without graph optimizations" in answer.json["reference"]["top1"]["source"]


@pytest.mark.slow
def test_a_file_against_itself_proves_nothing(graph: Callable[..., Path], run: Callable[..., Any]) -> None:
    path = graph()
    for words in (("--model", path), ("--source", path), ("--model", path, "--source", path)):
        answer = run(*words, "--engine", "onnxruntime")
        assert (answer.code, answer.json["verdict"]) == (3, "incomplete")
        assert "held against itself" in next(
            c["why"] for c in answer.json["checks"] if c["name"] == "source_is_another"
        )


@pytest.mark.slow
def test_another_precision_of_the_same_file_is_judged(graph: Callable[..., Path], run: Callable[..., Any]) -> None:
    answer = run("--source", graph(), "--engine", "onnxruntime", "--precision", "fp16")
    assert (answer.code, answer.json["verdict"]) == (0, "pass")


@pytest.mark.slow
def test_what_is_in_half_precision_is_no_source(
    graph: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    from modelport.model.graph.float16 import to_float16

    path = graph()
    half = tmp_path / "half.onnx"
    onnx.save(to_float16(onnx.load(str(path)), []).model, str(half))
    refused = run("--source", half, "--engine", "onnxruntime")
    assert refused.code == 2 and "half.onnx computes in fp16" in refused.err and "--source FILE.onnx" in refused.err
    alone = run("--model", half, "--engine", "onnxruntime", "--precision", "fp16")
    assert (alone.code, alone.json["verdict"]) == (3, "incomplete")
    assert any("--source FILE.onnx" in note for note in alone.json["notes"])
    held = run("--model", half, "--source", path, "--engine", "onnxruntime", "--precision", "fp16")
    assert (held.code, held.json["verdict"]) == (0, "pass")


@pytest.mark.slow
def test_another_models_answers_do_not_pass(
    graph: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    source = graph()
    other = onnx.load(str(source))
    weights = max(other.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)) * (len(tensor.dims) == 4))
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(-values, weights.name))
    onnx.save(other, str(tmp_path / "other.onnx"))
    answer = run("--model", tmp_path / "other.onnx", "--source", source, "--engine", "onnxruntime")
    assert answer.code in (1, 3) and answer.json["verdict"] != "pass"


def test_weights_and_a_source_are_one_too_many(
    graph: Callable[..., Path], run: Callable[..., Any], tiny_weights: Path
) -> None:
    answer = run("--source", graph(), "--weights", tiny_weights)
    assert answer.code == 2 and "--weights and --source" in answer.err


def test_no_source_is_said(graph: Callable[..., Path], run: Callable[..., Any]) -> None:
    answer = run("--model", graph(), "--source", "none", "--engine", "onnxruntime", "--limit", 20)
    assert (answer.code, answer.json["source"]["kind"]) == (3, "none")


def _frees_height_and_width(model: Any) -> None:
    for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, ("", 3, "", ""), strict=True):
        if size == "":
            axis.Clear()
            axis.dim_value = -1
    del model.graph.value_info[:]


def _takes_a_scale(model: Any) -> None:
    """Multiply the logits by the mean of an input of two numbers."""
    model.graph.input.append(helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, ["batch", 2]))
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == OUTPUT:
                node.output[place] = "unscaled"
    model.graph.node.append(helper.make_node("ReduceMax", ["scale_factor", "last"], ["factor"], keepdims=1))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "last"))
    model.graph.node.append(helper.make_node("Mul", ["unscaled", "factor"], [OUTPUT]))


def _tells_more(model: Any) -> None:
    model.graph.node.append(helper.make_node("Softmax", [OUTPUT], ["probabilities"]))
    model.graph.output.insert(0, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]))


def _picks_the_class(model: Any) -> None:
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == OUTPUT:
                node.output[place] = "logits"
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], [OUTPUT], axis=1, keepdims=0))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(OUTPUT, TensorProto.INT64, ["batch"]))


def _takes(kind: int, shape: list[int | str], *before: tuple[str, dict[str, Any], list[float]]) -> Edit:
    """Give the graph another input, which nodes (operator, attributes, constant) bring to what it took."""

    def edit(model: Any) -> None:
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == INPUT:
                    node.input[place] = "taken"
        made, last = [], INPUT
        for number, (operator, attributes, constant) in enumerate(before):
            name = "taken" if number == len(before) - 1 else f"taken_{number}"
            if constant:
                values = np.array(constant, np.float32).reshape(1, -1, 1, 1)
                model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"constant_{number}"))
            words = [last, f"constant_{number}"] if constant else [last]
            made.append(helper.make_node(operator, words, [name], **attributes))
            last = name
        nodes = [*made, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, kind, shape))

    return edit


_TO_FLOAT: tuple[str, dict[str, Any], list[float]] = ("Cast", {"to": TensorProto.FLOAT}, [])
_takes_half = _takes(TensorProto.FLOAT16, ["batch", 3, 32, 32], _TO_FLOAT)
_takes_bytes = _takes(
    TensorProto.UINT8,
    ["batch", 32, 32, 3],
    _TO_FLOAT,
    ("Transpose", {"perm": [0, 3, 1, 2]}, []),
    ("Div", {}, [255.0]),
    ("Sub", {}, [0.485, 0.456, 0.406]),
    ("Div", {}, [0.229, 0.224, 0.225]),
)
NORMALIZE = """step = "normalize"
divide = 255.0
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""
TO_TENSOR = """step = "to_tensor"
layout = "{}"
dtype = "{}"
"""


def _hides_its_shape(model: Any) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


FIXED = _fixed(1)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (_frees_height_and_width, ()),
        (
            _takes_a_scale,
            (
                (
                    "3, 32, 32] }]",
                    '3, 32, 32] }, { name = "scale_factor", dtype = "float32", shape = ["batch", 2], value = 1 }]',
                ),
            ),
        ),
        (_tells_more, ()),
        (_hides_its_shape, ()),
        (
            _picks_the_class,
            (
                ('dtype = "float32", shape = ["batch", 10]', 'dtype = "int64", shape = ["batch"]'),
                ('metrics = ["top1", "top2", "top3", "top4", "top5"]', 'metrics = ["top1"]'),
            ),
        ),
        (FIXED, ()),
        (
            _takes_half,
            (
                ('dtype = "float32", shape = ["batch", 3', 'dtype = "float16", shape = ["batch", 3'),
                (NORMALIZE, NORMALIZE + "\n[[preprocess]]\n" + TO_TENSOR.format("NCHW", "float16")),
            ),
        ),
        (
            _takes_bytes,
            (
                ('dtype = "float32", shape = ["batch", 3, 32, 32]', 'dtype = "uint8", shape = ["batch", 32, 32, 3]'),
                (NORMALIZE, TO_TENSOR.format("NHWC", "uint8")),
            ),
        ),
    ],
    ids=["free axes", "constant", "more outputs", "no shape", "argmax", "fixed batch", "float16", "bytes NHWC"],
)
def test_signatures_as_they_are_in_the_world(
    engine: str,
    edit: Edit,
    changes: tuple[tuple[str, str], ...],
    graph: Callable[..., Path],
    run: Callable[..., Any],
    tiny_path: Path,
    tmp_path: Path,
) -> None:
    if changes and "int64" in changes[0][1]:
        changes = (*changes, *_without_published(tiny_path, "top5"))
    recipe = _edited(tiny_path, tmp_path, *changes)
    precision = "fp16" if engine == "onnxruntime" else "fp32"  # else it would be held against itself
    answer = run("--source", graph(edit), "--engine", engine, "--precision", precision, recipe=recipe)
    assert answer.code == 0, answer
    assert answer.json["verdict"] == "pass"
    assert answer.json["batch"] == (1 if edit is FIXED else 8)


def _without_published(recipe: Path, metric: str) -> tuple[tuple[str, str], ...]:
    found = re.search(rf'\[\[published\]\]\nmetric = "{metric}"\n(?:.+\n)+', recipe.read_text())
    assert found is not None
    return ((found.group(0), ""),)


@pytest.mark.slow
def test_shape_gives_the_sizes(graph: Callable[..., Path], call: Call) -> None:
    path = graph(_frees_height_and_width)
    words = ("bench", "--model", path, "--engine", "onnxruntime", "--duration", "0.05", "--concurrency", 1, "--json")
    answer = call(*words, "--shape", f"{INPUT}:2,3,32,32")
    assert answer.code == 0 and [point["batch"] for point in answer.json["points"]] == [2]
    assert answer.json["signature"]["inputs"] == [f"{INPUT}: float32 (2, 3, 32, 32)"]
    for shape, said in (
        ("other:2,3,32,32", "no input 'other'"),
        (f"{INPUT}:2,4,32,32", f"{INPUT}: float32"),
        (f"{INPUT}:2,3,32", f"{INPUT}: float32"),
        (f"{INPUT}:2,3,x,32", "--shape images:1,3,320,320"),
        ("2,3,32,32", "--shape images:1,3,320,320"),
        (f"{INPUT}:0,3,32,32", "at least 1"),
    ):
        refused = call(*words[:-1], "--shape", shape)
        assert refused.code == 2 and said in refused.err


@pytest.mark.slow
def test_an_old_opset_is_converted_before_it_is_quantized(
    graph: Callable[..., Path], run: Callable[..., Any], tiny_data: Path
) -> None:
    words = ("--engine", "onnxruntime", "--precision", "int8", "--calibration", tiny_data)
    answer = run("--source", graph(opset=11), *words)
    assert answer.code in (0, 1, 3), answer.err
    assert any("opset 11 converted to 13" in note for note in answer.json["notes"])
    assert answer.json["precision"] == "int8"


def test_inputs_without_a_value_are_one(tiny: Any) -> None:
    from modelport.recipes.schema import Recipe
    from modelport.recipes.tables import Tensor

    second = Tensor(name="size", dtype="float32", shape=["batch", 2])
    for more, said in ((second, "one input takes the sample"), (replace_value(second, [1.0]), "1 values for the 2")):
        content = tiny.to_json()
        content["tensors"]["inputs"].append(more if isinstance(more, dict) else more.model_dump(exclude_none=True))
        with pytest.raises(ValueError, match=said):
            Recipe.model_validate(content)


def replace_value(tensor: Any, value: list[float]) -> dict[str, Any]:
    return {**tensor.model_dump(exclude_none=True), "value": value}


def test_constants_fill_every_row() -> None:
    from modelport.engines.fitted import with_constants
    from modelport.recipes.tables import Tensor

    told = [Tensor(name="size", dtype="int64", shape=["batch", 2], value=[48.0, 192.0])]
    filled = with_constants(told, {"x": np.zeros((3, 1))})
    assert filled["size"].dtype == np.int64 and filled["size"].tolist() == [[48, 192]] * 3
    once = [told[0].model_copy(update={"shape": [1, 2]})]
    assert with_constants(once, {"x": np.zeros((3, 1))})["size"].shape == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".xml")])
def test_a_file_is_compiled_without_a_recipe(
    engine: str, suffix: str, graph: Callable[..., Path], call: Call, run: Callable[..., Any], tmp_path: Path
) -> None:
    path, out = graph(_frees_height_and_width), tmp_path / f"compiled{suffix}"
    words = ("compile", "--model", path, "--engine", engine, "--out", out, "--shape", f"{INPUT}:8,3,32,32")
    made = call(*words, "--json")
    assert made.code == 0, made.err
    assert [row["path"] for row in made.json["artifacts"]][:2] == [str(path), str(out)]
    shown = call("show", out, "--json").json
    assert shown["inputs"] == [f"{INPUT}: float32 (8, 3, 32, 32)"] or suffix == ".onnx"
    held = run("--model", out, "--source", path, "--engine", engine)
    assert held.json["metrics"]["source_agreement"]["value"] == 100.0
    call(*words, "--precision", "int8", "--calibration", tmp_path).refused("recipe", "modelport init")
    call("compile", "--engine", engine, "--out", out).refused("--model")
    call("compile", "moco-v2", path, "--model", path, "--engine", engine, "--out", out).refused("--model")


@pytest.mark.slow
def test_tune_takes_a_file(
    graph: Callable[..., Path], call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_data / "val", tmp_path / "data" / "val")  # without a training split int8 is not tried
    shutil.copy(tiny_data / "val_label.txt", tmp_path / "data")
    words = ("tune", tiny_path, "--model", graph(), "--data", tmp_path / "data", "--out", tmp_path / "s.toml")
    answer = call(*words, "--engines", "openvino", "--seconds", "0.1", "--limit", 300, "--json")
    assert answer.code == 0, answer.err
    assert (tmp_path / "s.toml").is_file()
    assert {row["precision"] for row in answer.json["points"]} >= {"fp32"}


@pytest.mark.slow
def test_what_was_compiled_for_one_size_serves_no_other(
    graph: Callable[..., Path], run: Callable[..., Any], tiny_path: Path, tmp_path: Path
) -> None:
    path = graph(_frees_height_and_width)
    words = ("--source", path, "--engine", "openvino", "--limit", 20)
    assert run(*words).code == 3  # too few for a verdict
    larger = (("3, 32, 32]", "3, 48, 48]"), ("size = 32", "size = 48"), ("size = 40", "size = 56"))
    again = run(*words, recipe=_edited(tiny_path, tmp_path, *larger))
    assert again.code == 3, again
    assert again.json["metrics"]["source_agreement"]["value"] == 100.0


def test_a_shape_that_the_steps_do_not_make_is_refused(graph: Callable[..., Path], run: Callable[..., Any]) -> None:
    refused = run("--source", graph(_frees_height_and_width), "--shape", f"{INPUT}:8,3,48,48")
    assert refused.code == 2 and "--shape" in refused.err and "32" in refused.err, refused
