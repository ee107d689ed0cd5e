"""Laws of the int8 models: near the source, exact where nothing is quantized, and what was kept really is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from conftest import Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.values import Array, Tensors
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build
from modelport.engines.quantizer import Int8Model, calibrated
from modelport.engines.registry import ENGINES, get_engine, opened
from modelport.model.graph.file import read_graph
from modelport.model.graph.quantizable import heavy_precisions
from modelport.recipes.schema import Recipe

QUANTIZERS = {engine.name: engine.quantizer for engine in map(get_engine, ENGINES) if engine.quantizer is not None}
PAIRS = [(engine, method) for engine, quantizer in QUANTIZERS.items() for method in quantizer.methods]
CALIBRATED, ASKED = 24, 40
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny()[0]


@pytest.fixture(scope="module")
def images(tiny: Recipe, tiny_data: Path) -> Array:
    """Training images to calibrate on, then validation images."""
    samples = [
        *open_dataset(tiny, tiny_data, split="train")[:CALIBRATED],
        *open_dataset(tiny, tiny_data)[:ASKED],
    ]
    return np.concatenate([batch.inputs["actual_input_1"] for batch in feed(tiny, samples, 8, seed=0)])


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def made(
    request: pytest.FixtureRequest, graph: Artifact, images: Array, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Int8Model, Path]]:
    engine, method = request.param
    pytest.importorskip("nncf" if engine == "openvino" else "onnxruntime")
    work = tmp_path_factory.mktemp("work")

    def batches() -> Iterator[Tensors]:
        for start in range(0, CALIBRATED, 8):
            yield {"actual_input_1": images[start : start + 8]}

    yield engine, calibrated(QUANTIZERS[engine], method, graph, batches, work), work


def _answers(engine: str, model: Artifact, recipe: Recipe, images: Array, precision: str | None) -> Array:
    asked = images[CALIBRATED:]
    with opened(get_engine(engine), model, Build(recipe, precision, len(asked))) as runner:
        return runner.run({"actual_input_1": asked})["output1"]


def test_int8_is_near_the_source_and_runs_as_int8(
    made: tuple[str, Int8Model, Path], graph: Artifact, images: Array, tiny: Recipe
) -> None:
    engine, model, work = made
    written = model.write((), work / f"whole{get_engine(engine).compiles_to}")
    assert graph.sha256 in written.made_from
    got, want = (_answers(engine, file, tiny, images, word) for file, word in ((written, "int8"), (graph, "fp32")))
    distance = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert 1e-3 < distance < 0.4
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.7


def test_with_every_layer_returned_it_is_the_float32_model(
    made: tuple[str, Int8Model, Path], graph: Artifact, images: Array, tiny: Recipe
) -> None:
    engine, model, work = made
    written = model.write(model.layers, work / f"none{get_engine(engine).compiles_to}")
    got, want = (_answers(engine, file, tiny, images, "fp32") for file in (written, graph))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_a_kept_layer_computes_in_float32(made: tuple[str, Int8Model, Path], graph: Artifact, tiny: Recipe) -> None:
    engine, model, work = made
    kept = model.heavy[1]
    assert set(model.heavy) <= set(model.layers)
    written = model.write([kept], work / f"one{get_engine(engine).compiles_to}")
    assert _float_layers(engine, written, model.heavy, work) == {kept}
    names = [node.name for node in read_graph(graph.path).graph.node]
    assert list(model.layers) == [name for name in names if name in model.layers]


def _float_layers(engine: str, written: Artifact, heavy: tuple[str, ...], work: Path) -> set[str]:
    """Ask the engine itself which heavy layers it computes in float32."""
    if engine == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(str(written.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = set()
        for node in compiled.get_runtime_model().get_ordered_ops():
            info = node.get_rt_info()
            parts = info["originalLayersNames"].astype(str).split(",")
            if info["layerType"].astype(str) in ("Convolution", "FullyConnected"):
                name = next(layer for layer in heavy for part in parts if part.split("/")[0] == layer)
                if info["runtimePrecision"].astype(str) == "f32":
                    found.add(name)
        return found
    optimised = get_engine(engine).compile(written, Build(), work / "optimised.onnx")
    executed = [node.op_type for node in read_graph(optimised.path).graph.node]
    told = {name for name, word in heavy_precisions(read_graph(written.path)).items() if word == "fp32"}
    # What is told of the file is what the optimised graph has: all others became ONNX Runtime's 8-bit kernels.
    assert sum(kind in ("QLinearConv", "QGemm") for kind in executed) == len(heavy) - len(told)
    assert sum(kind in ("Conv", "FusedConv", "Gemm") for kind in executed) == len(told)
    return told


def test_a_kept_layer_reads_what_was_not_quantized(made: tuple[str, Int8Model, Path]) -> None:
    """Also where a layer that stays in 8 bits reads the same tensor: the third block's two first convolutions."""
    engine, model, work = made
    if engine != "openvino":
        pytest.skip("ONNX Runtime's library leaves the inputs of a kept node alone")
    import openvino

    kept = "node_Conv_302"
    written = model.write([kept], work / "shared.xml")
    layers = {op.get_friendly_name(): op for op in openvino.Core().read_model(str(written.path)).get_ops()}

    def feeds(name: str) -> str:
        return str(layers[f"{name}/WithoutBiases"].input_value(0).get_node().get_type_name())

    assert feeds(kept) == "Relu"
    assert feeds("node_Conv_304") == "FakeQuantize"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_weights_quantized_once_make_the_model_that_the_library_makes_of_floats(
    made: tuple[str, Int8Model, Path], images: Array, tiny: Recipe, count: int
) -> None:
    """The oracle is ONNX Runtime's quantizer on the float32 weights, with the same layers left out."""
    engine, model, work = made
    if engine != "onnxruntime":
        pytest.skip("NNCF quantizes once")
    kept = np.random.default_rng(count).choice(model.layers, count, replace=False).tolist()
    once = model.write(kept, work / "once.onnx")
    weights = vars(model)["_weights"]
    assert set(model.heavy) == set(weights)
    try:
        vars(model)["_weights"] = {}
        again = model.write(kept, work / "again.onnx")
    finally:
        vars(model)["_weights"] = weights
    got, want = (_answers(engine, file, tiny, images, None) for file in (once, again))
    np.testing.assert_array_equal(got, want)
    graphs = [read_graph(file.path).graph for file in (once, again)]
    stored = [
        {t.name: (t.data_type, onnx.numpy_helper.to_array(t).tobytes()) for t in graph.initializer} for graph in graphs
    ]
    assert stored[0] == stored[1]


def test_an_old_opset_is_refused_with_the_one_to_export(graph: Artifact, tmp_path: Path) -> None:
    model = read_graph(graph.path)
    model.opset_import[0].version = 11
    path = tmp_path / "old.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match="--opset 13"):
        calibrated(QUANTIZERS["onnxruntime"], "minmax", Artifact.of(path, "onnx"), lambda: (), tmp_path)


def test_a_failure_of_the_library_names_the_model(graph: Artifact, tmp_path: Path) -> None:
    wrong = {"wrong": np.zeros((1, 3, 32, 32), np.float32)}
    with pytest.raises(EngineError, match=r"tiny\.onnx: ONNX Runtime cannot quantize it"):
        calibrated(QUANTIZERS["onnxruntime"], "minmax", graph, lambda: [wrong], tmp_path)


def test_nothing_is_reported_to_a_statistics_service() -> None:
    pytest.importorskip("nncf")
    probe = (
        "from modelport.engines.openvino.quantizer import _nncf; _nncf(); import nncf.telemetry.wrapper as w; "
        "print(type(w.telemetry).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unittest.mock"


def test_nodes_after_the_last_heavy_layer_stay_float(images: Array, tmp_path: Path) -> None:
    """Boxes of hundreds of pixels are made there: in 8 bits they would be off by pixels."""
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((4, 3, 3, 3)).astype(np.float32) for name in ("v", "w")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["x", "v"], ["c"], "other"),
        helper.make_node("Add", ["b", "c"], ["y"], "boxes"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *rest]) for name, rest in _SHAPES]
    initialisers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], initialisers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path = tmp_path / "boxes.onnx"
    onnx.save(model, path)
    rows = [{"x": images[:4]}]
    for engine, method in (("onnxruntime", "minmax"), ("openvino", "minmax")):
        pytest.importorskip("nncf" if engine == "openvino" else "onnxruntime")
        (work := tmp_path / engine).mkdir()
        made = calibrated(QUANTIZERS[engine], method, Artifact.of(path, "onnx"), lambda: rows, work)
        assert "conv" in made.layers
        assert "boxes" not in made.layers
        if engine == "onnxruntime":
            written = read_graph(made.write((), work / "boxes.int8.onnx").path).graph
            assert [node.op_type for node in written.node if "y" in node.output] == ["Add"]


_SHAPES = (("x", (3, 32, 32)), ("y", (4, 30, 30)))


def test_layers_keep_their_names_where_weights_are_shared_and_inputs_joined(images: Array, tmp_path: Path) -> None:
    """Two batch norms on one shared convolution are folded under new names; a third one reads both, side by side."""
    pytest.importorskip("nncf")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    values = {"w": rng.standard_normal((4, 3, 3, 3)), "v": rng.standard_normal((5, 8, 1, 1)) / 4}
    values |= {
        f"{kind}{place}": rng.uniform(0.5, 1.5, 4) for place in "12" for kind in ("scale", "shift", "mean", "var")
    }
    nodes = [helper.make_node("Neg", ["x"], ["x2"], "other"), helper.make_node("Identity", ["x"], ["x1"], "same")]
    for place in "12":
        nodes.append(helper.make_node("Conv", [f"x{place}", "w"], [f"c{place}"], f"shared{place}"))
        norm = [f"{kind}{place}" for kind in ("scale", "shift", "mean", "var")]
        nodes.append(helper.make_node("BatchNormalization", [f"c{place}", *norm], [f"n{place}"], f"norm{place}"))
        nodes.append(helper.make_node("Relu", [f"n{place}"], [f"r{place}"], f"relu{place}"))
    nodes.append(helper.make_node("Concat", ["r1", "r2"], ["j"], "join", axis=1))
    nodes.append(helper.make_node("Conv", ["j", "v"], ["y"], "last"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None, None, None]) for name in "xy"]
    initialisers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in values.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], initialisers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path = tmp_path / "shared.onnx"
    onnx.save(model, path)
    graph = Artifact.of(path, "onnx")
    made = calibrated(QUANTIZERS["openvino"], "minmax", graph, lambda: [{"x": images[:8]}], tmp_path)
    assert made.heavy == ("shared1", "shared2", "last")
    assert set(made.heavy) <= set(made.layers)

    def answers(model: Artifact) -> Array:
        with opened(get_engine("openvino"), model, Build(precision="fp32", batch=4)) as runner:
            return runner.run({"x": images[:4]})["y"]

    want = answers(graph)
    kept = made.write(made.heavy, tmp_path / "none.xml")
    np.testing.assert_allclose(answers(kept), want, rtol=0, atol=1e-5 * np.abs(want).max())
    import openvino

    one = openvino.Core().read_model(str(made.write(["last"], tmp_path / "one.xml").path))
    last = [op for op in one.get_ordered_ops() if op.get_type_name() == "Convolution"][-1]
    assert [source.get_node().get_type_name() for source in last.input_values()] == ["Concat", "Constant"]
    assert {source.get_node().get_type_name() for source in last.input_value(0).get_node().input_values()} == {"Relu"}
