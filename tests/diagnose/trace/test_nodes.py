"""Healthy graphs depart nowhere; a fault is found at its node, in plain and in renamed graphs; memory is bounded."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_graphs import FAULTS, SIZE, images, node_of, planted, renamed, small_graph

from modelport.core.errors import EngineError, GraphError
from modelport.core.values import Array
from modelport.diagnose.trace.findings import NodesFound
from modelport.diagnose.trace.nodes import examine
from modelport.diagnose.trace.running import MOST_WORDS, Bench, words_of
from modelport.model.graph.float16 import to_float16

X = images()


def names(model: onnx.ModelProto, other: onnx.ModelProto) -> dict[str, str]:
    """The nodes' names in ``model`` by those of its copy ``other`` under other names."""
    return {there.name: here.name for here, there in zip(model.graph.node, other.graph.node, strict=True)}


def told(found: NodesFound) -> list[tuple[str, float, float]]:
    return [(unit.node, unit.local.rel_l2, unit.expected) for unit in found.departed]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_at_its_node(kind: str) -> None:
    faulty, where = planted(kind)
    found = examine(small_graph(), faulty, X, None, "fp32")
    assert [unit.node for unit in found.departed] == [where], told(found)
    assert not found.unpaired


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_in_a_renamed_graph(kind: str) -> None:
    faulty, where = planted(kind)
    other = renamed(faulty)
    found = examine(small_graph(), other, X, None, "fp32")
    old = names(faulty, other)
    # A node that is missing has the reference's name.
    assert [old.get(unit.node, unit.node) for unit in found.departed] == [where], told(found)


def test_the_same_graph_departs_nowhere() -> None:
    found = examine(small_graph(), renamed(small_graph()), X, None, "fp32")
    assert not found.departed
    assert len(found.units) == len(small_graph().graph.node)
    assert all(unit.local.rel_l2 == 0 and unit.accumulated.rel_l2 == 0 for unit in found.units)


def test_behind_a_fault_errors_accumulate_and_no_unit_errs_by_itself() -> None:
    faulty, where = planted("weight scaled")
    found = examine(small_graph(), faulty, X, None, "fp32")
    place = next(place for place, unit in enumerate(found.units) if unit.node == where)
    assert 5e-4 < found.units[place].local.rel_l2 < 2e-3
    assert all(unit.accumulated.rel_l2 == 0 for unit in found.units[:place])
    assert all(unit.accumulated.rel_l2 > 0 for unit in found.units[place:])
    assert all(unit.local.rel_l2 == 0 for unit in found.units[place + 1 :])


@pytest.mark.parametrize("rename", [False, True])
def test_two_faults_are_two(rename: bool) -> None:
    faulty, first = planted("alpha")
    second = FAULTS["resize mode"](faulty)
    other = renamed(faulty) if rename else faulty
    found = examine(small_graph(), other, X, None, "fp32")
    old = names(faulty, other)
    assert {old[unit.node] for unit in found.departed} == {first, second}


@pytest.mark.parametrize("kind", ["", "pads", "activation", "weight transposed"])
def test_float16(kind: str) -> None:
    graph, where = planted(kind) if kind else (small_graph(), "")
    for half in (to_float16(graph).model, to_float16(renamed(graph)).model):
        found = examine(small_graph(), half, X, None, "fp16")
        assert len(found.departed) == bool(kind), told(found)
        assert all(unit.local.rel_l2 > 0 for unit in found.units)
    assert not kind or examine(small_graph(), to_float16(graph).model, X, None, "fp16").departed[0].node == where


def test_a_half_graph_whose_ends_are_half_is_fed_float32() -> None:
    half = to_float16(small_graph()).model
    casts = {node.output[0]: node for node in half.graph.node if node.op_type == "Cast"}
    for node in half.graph.node:
        node.input[:] = ["input" if name in casts and casts[name].input[0] == "input" else name for name in node.input]
    half.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    found = examine(small_graph(), half, X, {"input": X["input"].astype(np.float16)}, "fp16")
    assert not found.departed, told(found)


class _Reader:
    def __init__(self, samples: list[Mapping[str, Array]]) -> None:
        self._left = list(samples)

    def get_next(self) -> Any:
        return self._left.pop() if self._left else None


@pytest.fixture(scope="module")
def quantize(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Static QDQ quantization per channel, calibrated on the samples that are examined."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    def made(model: onnx.ModelProto) -> onnx.ModelProto:
        folder = tmp_path_factory.mktemp("int8")
        onnx.save(model, folder / "model.onnx")
        quantize_static(
            folder / "model.onnx", folder / "int8.onnx", _Reader([images(8, seed) for seed in range(3)]),
            quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add", "MaxPool", "Concat"],
        )  # fmt: skip
        return onnx.load(folder / "int8.onnx")

    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["", "pads", "channels swapped", "branches swapped"])
def test_eight_bits(kind: str, quantize: Any) -> None:
    graph, where = planted(kind) if kind else (small_graph(), "")
    int8 = quantize(graph)
    for candidate in (int8, renamed(int8)):
        found = examine(small_graph(), candidate, X, None, "int8")
        assert found.units[-1].accumulated.rel_l2 > 1e-3
        if not kind:
            assert not found.departed, told(found)
    if kind:
        assert examine(small_graph(), int8, X, None, "int8").departed[0].node == where


@pytest.mark.filterwarnings("ignore")
def test_what_8_bits_cut_off_is_not_explained(quantize: Any) -> None:
    int8 = quantize(small_graph())
    scale = next(tensor for tensor in int8.graph.initializer if tensor.name == "block.out_scale")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) / np.float32(4), scale.name))
    found = examine(small_graph(), int8, X, None, "int8")
    # All that read the tensor in 8 bits.
    assert {unit.node for unit in found.departed} == {"n_left", "n_right"}, told(found)


def test_pixels_are_the_reference_s_input_behind_their_normalisation() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    graph = small_graph()
    constants: dict[str, Array] = {
        "pixels/by": np.array(64, np.float32).reshape(1, 1, 1, 1),
        "pixels/mean": np.array([2, 2.1, 1.9], np.float32)[None, :, None, None],
    }
    nodes = [
        helper.make_node("Cast", ["input"], ["pixels/float"], "pixels/cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels/float"], ["pixels/planes"], "pixels/transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["pixels/planes", "pixels/by"], ["pixels/divided"], "pixels/by_divide"),
        helper.make_node("Sub", ["pixels/divided", "pixels/mean"], ["pixels/normalised"], "pixels/by_mean"),
    ]
    rest = [copy.deepcopy(node) for node in graph.graph.node]
    rest[0].input[0] = "pixels/normalised"
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes, *rest])
    graph.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.UINT8, ["n", SIZE, SIZE, 3]))
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32) / constants["pixels/by"] - constants["pixels/mean"]
    found = examine(small_graph(), graph, {"input": planes}, {"input": pixels}, "fp32")
    assert not found.departed, told(found)
    assert found.units[0].unit.reference_output == "input" and not found.units[0].unit.reference_nodes
    assert found.units[0].unit.inputs == (("input", ""),)
    mean = next(tensor for tensor in graph.graph.initializer if tensor.name == "pixels/mean")
    mean.CopyFrom(numpy_helper.from_array(constants["pixels/mean"][:, ::-1].copy(), "pixels/mean"))
    found = examine(small_graph(), graph, {"input": planes}, {"input": pixels}, "fp32")
    assert [unit.node for unit in found.departed] == ["pixels/by_mean"], told(found)


def test_a_node_that_cannot_run_departs_with_the_engine_s_words() -> None:
    faulty = small_graph()
    weight = next(tensor for tensor in faulty.graph.initializer if tensor.name == "mix.weight")
    weight.CopyFrom(numpy_helper.from_array(np.zeros((8, 11, 3, 3), np.float32), weight.name))
    found = examine(small_graph(), faulty, X, None, "fp32")
    (culprit,) = found.departed
    assert culprit.node == "n_mix" and math.isinf(culprit.local.rel_l2)
    assert any("n_mix" in note for note in found.notes)
    # What hangs on it has no value of its own run, and is examined alone all the same.
    assert math.isinf(found.units[-1].accumulated.rel_l2) and found.units[-1].local.rel_l2 == 0


def test_an_engine_s_words_are_one_plain_line() -> None:
    said = words_of(EngineError("it fails:\n  \x1b[31mred " + "x" * 9999, ""))
    assert said.startswith("it fails: \\x1b[31mred x") and len(said) == MOST_WORDS


def test_a_value_that_is_not_finite_departs_where_it_is_made() -> None:
    faulty = small_graph()
    bias = next(tensor for tensor in faulty.graph.initializer if tensor.name == "right.bias")
    values = numpy_helper.to_array(bias).copy()
    values[0] = np.nan
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    found = examine(small_graph(), faulty, X, None, "fp32")
    assert [unit.node for unit in found.departed] == ["n_right"]
    assert found.departed[0].local.nonfinite > 0


def test_an_input_may_have_another_name() -> None:
    other = small_graph()
    other.graph.input[0].name = node_of(other, "n_stem").input[0] = "images"
    found = examine(small_graph(), other, X, None, "fp32")
    assert not found.departed and found.units[0].unit.inputs == (("images", "input"),)
    with pytest.raises(GraphError, match="nothing is given for the graph's input 'images'"):
        examine(small_graph(), other, X, {}, "fp32")


def test_a_reference_that_cannot_run_is_one_clear_error() -> None:
    broken = small_graph()
    node_of(broken, "n_mix").input[0] = "block.out"
    with pytest.raises(EngineError, match="'n_mix' of the reference"):
        examine(broken, small_graph(), X, None, "fp32")


def test_a_unit_that_cannot_be_moved_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unit's bound hangs on a run with moved weights: where one fails, the others keep theirs."""
    half = to_float16(small_graph()).model
    weight = next(tensor for tensor in half.graph.initializer if tensor.name == "q.weight_fp16")
    own = numpy_helper.to_array(weight)
    healthy = {unit.node: unit.expected for unit in examine(small_graph(), half, X, None, "fp16").units}
    run = Bench.run

    def refusing(self: Bench, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for tensor in model.graph.initializer:
            if tensor.name == weight.name and (numpy_helper.to_array(tensor) != own).any():
                raise EngineError("it minds", "")
        return run(self, model, feeds)

    monkeypatch.setattr(Bench, "run", refusing)
    found = examine(small_graph(), half, X, None, "fp16")
    other = [unit.node for unit in found.units if unit.expected != healthy[unit.node]]
    assert other == ["n_q"] and any("moved" in note and "it minds" in note for note in found.notes)


@pytest.mark.parametrize("kind", ["text", "sequence"])
def test_what_holds_no_numbers_is_not_compared(kind: str) -> None:
    made = "Cast" if kind == "text" else "SequenceConstruct"
    attributes: dict[str, Any] = {"to": TensorProto.STRING} if kind == "text" else {}
    other = helper.make_tensor_value_info("other", TensorProto.STRING, None)
    if kind == "sequence":
        other = helper.make_tensor_sequence_value_info("other", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node(made, ["x"], ["other"], "odd", **attributes),
        helper.make_node("Relu", ["x"], ["y"], "relu"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [other, y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    found = examine(model, model, {"x": np.ones((1, 4), np.float32)}, None, "fp32")
    assert [unit.node for unit in found.units] == ["relu"] and not found.departed
    assert list(found.unpaired) == ["odd"]


def test_windows_never_hold_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    run = Bench.run

    def counted(self: Bench, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
        made = run(self, model, feeds)
        seen.append(sum(array.nbytes for array in made.values()))
        return made

    monkeypatch.setattr(Bench, "run", counted)
    limit = 100_000  # the largest tensor, of the attention, has 80,000 bytes
    found = examine(small_graph(), small_graph(), X, None, "fp32", limit=limit)
    assert not found.departed and len(found.units) == len(small_graph().graph.node)
    assert max(seen) <= limit and len(seen) == found.runs > 10
