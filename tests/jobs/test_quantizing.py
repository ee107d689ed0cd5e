"""The road to int8: what is refused, what is said, what is kept for the next time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, UsageError
from modelport.core.progress import Silent
from modelport.core.values import Array, Tensors
from modelport.engines.base import Options
from modelport.engines.quantize import calibrated as calibrated_honestly
from modelport.engines.registry import get_engine, opened
from modelport.jobs import calibration, quantizing
from modelport.jobs.calibration import open_calibration
from modelport.jobs.examination import Examination, Loss, Reference, _collapse
from modelport.jobs.exporting import export_cached
from modelport.jobs.precision import Wanted, check_calibration, lowered
from modelport.jobs.quantizing import Int8Job, quantized
from modelport.model.graph import read_graph
from modelport.model.precision_plan import PrecisionPlan, block_list, read_plan
from modelport.model.quantizable import heavy_precisions
from modelport.model.source import SourceModel, load_source
from modelport.recipes.schema import Recipe

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(calibration.RANGES, "classification", 16)


@pytest.fixture(scope="module")
def source(tiny: Recipe, tiny_weights: Path) -> SourceModel:
    return load_source(tiny, tiny_weights)


@pytest.fixture(scope="module")
def graph(source: SourceModel) -> Artifact:
    return export_cached(source, Silent())[0]


def _job(recipe: Recipe, graph: Artifact, data: Path, plan: PrecisionPlan | None = None) -> Int8Job:
    engine, options = get_engine("onnxruntime"), Options(recipe, "fp32", 8)

    def run(inputs: Tensors) -> Mapping[str, Array]:
        with opened(engine, graph, options) as runner:
            return runner.run(inputs)

    images = open_calibration(recipe, data, 0)
    return Int8Job(
        recipe, engine, graph, images, Reference(run, False), "the graph", options, plan=plan or PrecisionPlan()
    )


def test_the_second_time_nothing_is_made(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quantized(_job(tiny, graph, tiny_data), Silent())
    assert graph.sha256 in first.artifact.made_from
    assert first.record["layers"]["heavy"] == 21
    assert len(first.record["tried"]) == 2
    plan = read_plan(Path(first.record["plan_file"]))
    assert set(plan.nodes.values()) == {"int8"}

    def never(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(quantizing, "_make", never)
    again = quantized(_job(tiny, graph, tiny_data), Silent())
    assert again == first
    # A file that is not what was written is made again.
    Path(first.record["plan_file"]).write_text("{}")
    with pytest.raises(AssertionError, match="made again"):
        quantized(_job(tiny, graph, tiny_data), Silent())


def test_a_method_that_the_library_cannot_do_is_left_out_and_said(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    honest = calibrated_honestly
    broken = {"percentile"}

    def calibrated(engine: str, method: str, *rest: Any) -> Any:
        if method in broken:
            raise EngineError("the library stumbled", "another engine")
        return honest(engine, method, *rest)

    monkeypatch.setattr(quantizing, "calibrated", calibrated)
    made = quantized(_job(tiny, graph, tiny_data), Silent())
    assert [method.get("failed") for method in made.record["tried"]] == [None, "the library stumbled"]
    assert any("'percentile' was not tried: the library stumbled" in note for note in made.notes)
    broken.add("minmax")
    with pytest.raises(EngineError, match="the library stumbled"):
        quantized(_job(tiny, graph, tiny_data, PrecisionPlan(types={"Conv": "fp32"})), Silent())


def test_layers_return_where_too_much_is_lost_and_the_plan_says_which(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is made up here: it is above the tolerance until three layers are back."""
    real = Examination.loss

    def loss(self: Examination, model: Artifact) -> Loss:
        found = real(self, model)
        back = sum(word == "fp32" for word in heavy_precisions(read_graph(model.path)).values())
        return Loss(found.metric, 97.0 + min(back, 3), 100.0, 0.5, found.n)

    monkeypatch.setattr(Examination, "loss", loss)
    monkeypatch.setattr(
        quantizing, "groups_of", lambda names: [(name,) for name in names if name.startswith("node_Conv")][:4]
    )
    plan = PrecisionPlan({"node_linear": "fp32"})
    done = quantized(_job(tiny, graph, tiny_data, plan=plan), Silent())
    assert done.record["asked"] == ["node_linear"]
    assert len(done.record["returned"]) == 2
    assert [len(step["returned"]) for step in done.record["steps"]] == [1, 1]
    assert done.record["loss"]["before"]["drop"] == 2.0
    assert done.record["loss"]["tolerated"]
    assert set(done.record["higher_precision"]) == {"node_linear", *done.record["returned"]}
    gains = [entry["gain"] for entry in done.record["ranking"]]
    assert gains == sorted(gains, reverse=True)
    written = read_plan(Path(done.record["plan_file"]))
    assert block_list(written, read_graph(graph.path)) == [
        node.name for node in read_graph(graph.path).graph.node if node.name in done.record["higher_precision"]
    ]
    assert any("returned to float32" in note for note in done.notes)


def test_collapsed_outputs_are_told_apart_from_dull_ones() -> None:
    rng = np.random.default_rng(0)
    want = rng.standard_normal((6, 4))
    assert _collapse(want + 0.1, want, True) == ""
    assert "every sample" in _collapse(np.ones((6, 4)), want, True)
    assert "one class" in _collapse(want * 1e-3 + np.array([9.0, 0, 0, 0]), want, True)
    assert _collapse(want * 1e-3 + np.array([9.0, 0, 0, 0]), want, False) == ""
    assert "NaN" in _collapse(np.where(want > 1, np.nan, want), want, True)
    dull = np.ones((6, 4))
    assert _collapse(dull, dull, True) == ""


def test_a_collapsed_model_stops_the_job(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Examination._outputs

    def broken(self: Examination, *given: object) -> object:
        for batch, outputs in real(self, *given):  # type: ignore[arg-type]
            yield batch, {name: np.zeros_like(array) for name, array in outputs.items()}

    monkeypatch.setattr(Examination, "_outputs", broken)
    monkeypatch.setattr(quantizing, "_read_record", lambda *_: None)
    with pytest.raises(EngineError, match="collapsed: 'output1' is the same for every sample"):
        quantized(_job(tiny, graph, tiny_data), Silent())


def test_options_that_do_not_go_together_are_refused(
    tiny: Recipe, graph: Artifact, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="needs images to calibrate on"):
        check_calibration("int8", None, None)
    with pytest.raises(UsageError, match="says nothing to bf16"):
        check_calibration("bf16", tiny_data, None)
    engine = get_engine("onnxruntime")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"schema": "modelport.plan/1", "nodes": {"node_linear": "fp32"}}))
    with pytest.raises(UsageError, match="--plan says nothing to fp32"):
        lowered(Wanted(tiny, engine, Options(tiny, "fp32", 8), plan=plan), graph, None, (), Silent())
    half = lowered(Wanted(tiny, engine, Options(tiny, "fp16", 8), plan=plan), graph, None, (), Silent())
    assert half.made
    assert any("by the block list: node_linear" in note for note in half.notes)
    with opened(engine, half.artifact, Options(tiny, "fp16", 8)) as runner:
        assert runner.precision == "fp16"
    with pytest.raises(UsageError, match="made already"):
        lowered(Wanted(tiny, engine, Options(tiny, "fp16", 8), plan=plan), half.artifact, None, (), Silent())
