"""What a faulty model that cannot be run, or data that cannot be read, makes of a plant."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelport.core.errors import BadSampleError, EngineError, ModelportError
from modelport.diagnose.changes.base import Change
from modelport.diagnose.power import planting
from modelport.diagnose.power.plants import Plant
from modelport.engines.base import Build
from modelport.engines.null import NullEngine
from modelport.recipes.schema import Recipe


def port(tiny: Recipe, folder: Path) -> planting.Port:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out]))
    assert isinstance(graph, onnx.ModelProto)
    return planting.Port(graph, NullEngine(), tiny, Build(tiny, "fp32", 1), [], folder)


def planted(tiny: Recipe, folder: Path, error: ModelportError, monkeypatch: pytest.MonkeyPatch) -> Any:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(planting, "opened", lambda *_: nullcontext())
    monkeypatch.setattr(planting, "ask", fails)
    return port(tiny, folder).planted(Plant("kind", "", 1.0, change=Change("kind", "value", "told")), 0)


def test_a_model_that_the_engine_refuses_has_no_answers(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planted(tiny, tmp_path, EngineError("refused", "export it again"), monkeypatch)
    assert found.answers is None and "refused" in found.about


def test_an_image_that_cannot_be_read_is_no_fault_that_was_noticed(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadSampleError):
        planted(tiny, tmp_path, BadSampleError("a.jpg: gone", "mend the file"), monkeypatch)
