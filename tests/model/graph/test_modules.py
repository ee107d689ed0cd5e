"""The PyTorch module of a node, as each exporter writes it down, and after conversions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from modelport.model.graph.modules import SCOPES, keep_scopes, module_of


def _node(op: str, name: str = "n", inputs: Sequence[str] = ("x",), scopes: str = "") -> onnx.NodeProto:
    node: onnx.NodeProto = helper.make_node(op, inputs, ["y"], name)
    if scopes:
        node.metadata_props.add(key=SCOPES, value=scopes)
    return node


def _graph(*nodes: onnx.NodeProto, weights: Sequence[str] = ()) -> onnx.GraphProto:
    constants = [numpy_helper.from_array(np.zeros(1, np.float32), name) for name in weights]
    graph: onnx.GraphProto = helper.make_graph(nodes, "g", [], [], constants)
    return graph


def test_scopes_tell_the_innermost_module() -> None:
    node = _node("Relu", scopes="['', 'layer1', 'layer1.0', 'layer1.0.relu', 'relu_1']")
    assert module_of(node, _graph(node)) == "layer1.0.relu"
    assert module_of(_node("Reshape", scopes="['', 'view']"), _graph()) == ""


def test_a_fused_convolution_is_told_by_its_weight() -> None:
    node = _node("Conv", inputs=["x", "layer1.0.conv1.weight"], scopes="['', 'layer1', 'layer1.0.bn1', 'norm']")
    assert module_of(node, _graph(node, weights=["layer1.0.conv1.weight"])) == "layer1.0.conv1"
    # The name of an activation is none of a weight.
    assert module_of(node, _graph(node)) == "layer1.0.bn1"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/layer2/layer2.0/downsample/downsample.0/Conv", "layer2.0.downsample.0"),
        ("/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/Flatten", ""),
        ("Conv_3", ""),
    ],
)
def test_names_of_the_older_exporter(name: str, module: str) -> None:
    assert module_of(_node("Relu", name), _graph()) == module


def test_a_module_that_is_called_again_has_one_name() -> None:
    again = _node("Relu", "/layer1/relu_1/Relu")
    assert module_of(again, _graph(_node("Relu", "/layer1/relu/Relu"), again)) == "layer1.relu"
    assert module_of(again, _graph(again)) == "layer1.relu_1"


@pytest.mark.parametrize(
    "scopes", ["['a'", "open('x')", "[1, 2, 3]", "{}", "['', 'a', 'b']" * 9999, "[" * 3000, "[{[]: 1}, 'a']"]
)
def test_hostile_scopes_tell_nothing(scopes: str) -> None:
    assert module_of(_node("Relu", scopes=scopes), _graph()) == ""


def test_nothing_of_this_machine_is_kept() -> None:
    node = _node("Relu", scopes="['', 'a', 'relu']")
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/someone/model.py")
    node.doc_string = "/home/someone/model.py"
    keep_scopes(node)
    assert [entry.key for entry in node.metadata_props] == [SCOPES]
    assert not node.doc_string
