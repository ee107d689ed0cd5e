"""The road to int8: what is refused, what is said, what is kept for the next time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, UsageError
from modelport.core.progress import Silent
from modelport.core.values import Array, Tensors
from modelport.engines.base import Build
from modelport.engines.quantizer import calibrated as calibrated_honestly
from modelport.engines.registry import get_engine, opened
from modelport.model.graph.file import read_graph
from modelport.model.graph.precision_plan import PrecisionPlan, block_list, read_plan
from modelport.model.graph.quantizable import heavy_precisions
from modelport.model.source import SourceModel, load_source
from modelport.recipes.schema import Recipe
from modelport.stages.int8 import search as quantizing
from modelport.stages.int8.calibrate import open_calibration
from modelport.stages.int8.examination import Examination, Loss, Reference
from modelport.stages.int8.search import Int8Job, quantized
from modelport.stages.lower import lowered
from modelport.stages.plan import Plan, check_calibration
from modelport.tasks.classification.task import Classification

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classification, "calibration_images", 16)


@pytest.fixture(scope="module")
def source(tiny: Recipe, tiny_weights: Path) -> SourceModel:
    return load_source(tiny, tiny_weights)


@pytest.fixture(scope="module")
def graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny()[0]


def _job(recipe: Recipe, graph: Artifact, data: Path, plan: PrecisionPlan | None = None) -> Int8Job:
    engine, options = get_engine("onnxruntime"), Build(recipe, "fp32", 8)

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

    def calibrated(quantizer: Any, method: str, *rest: Any) -> Any:
        if method in broken:
            raise EngineError("the library stumbled", "another engine")
        return honest(quantizer, method, *rest)

    monkeypatch.setattr(quantizing, "calibrated", calibrated)
    made = quantized(_job(tiny, graph, tiny_data), Silent())
    assert [method.get("failed") for method in made.record["tried"]] == [None, "the library stumbled"]
    assert any("'percentile' was not taken: the library stumbled" in note for note in made.notes)
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


def _spoilt(change: Callable[[Array], Array], when: Callable[[], bool] = lambda: True) -> Any:
    """Return what answers on trial in place of ``Examination._outputs``, with outputs made into something else."""
    real = Examination._outputs

    def outputs(self: Examination, *given: Any) -> Iterator[tuple[Any, dict[str, Array]]]:
        for batch, answer in real(self, *given):
            yield batch, {key: change(array) for key, array in answer.items()} if when() else answer

    return outputs


@pytest.mark.parametrize(
    "change",
    [
        lambda array: np.full_like(array, np.nan),
        lambda array: np.zeros_like(array),
        lambda array: 1e-3 * array + np.eye(10, dtype=np.float32)[3],
    ],
    ids=["NaN", "constant", "one class"],
)
def test_what_has_collapsed_is_refused(
    tiny: Recipe,
    graph: Artifact,
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Array], Array],
) -> None:
    job = _job(tiny, graph, tiny_data)
    examination = Examination(job.engine, job.calibration, job.reference, job.build, 0)
    examination.refuse_collapsed(graph)
    monkeypatch.setattr(Examination, "_outputs", _spoilt(change))
    with pytest.raises(EngineError, match="has collapsed"):
        examination.refuse_collapsed(graph)


def test_where_one_way_collapses_the_other_is_chosen(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    made: list[str] = []

    def calibrated(quantizer: Any, name: str, *rest: Any) -> Any:
        made.append(name)
        return calibrated_honestly(quantizer, name, *rest)

    monkeypatch.setattr(quantizing, "calibrated", calibrated)
    monkeypatch.setattr(Examination, "_outputs", _spoilt(np.zeros_like, lambda: made[-1] == "minmax"))
    done = quantized(_job(tiny, graph, tiny_data), Silent())
    assert "percentile" in done.record["method"]["ranges"]
    assert any("'minmax' was not taken: the int8 model has collapsed" in note for note in done.notes)
    assert done.record["loss"]["after"]["unsound"] == []


def test_answers_that_are_another_models_are_not_tolerated_though_the_figure_holds(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tiny, graph, tiny_data)
    examination = Examination(job.engine, job.calibration, job.reference, job.build, 0)
    sound = examination.loss(graph)
    assert sound.unsound == () and sound.excess <= 0 and examination.notes == ()
    monkeypatch.setattr(Examination, "_outputs", _spoilt(lambda array: np.roll(array, 1, axis=1)))
    found = examination.loss(graph)
    assert any("this may be another model" in why for why in found.unsound)
    # However little the figure fell, nothing unsound is tolerated, and JSON can say so.
    held = Loss(found.metric, found.source, found.source, found.allowed, found.n, found.unsound)
    assert held.excess == np.inf and json.dumps(held.to_json(), allow_nan=False)
    assert Loss("mAP", float("nan"), 0.5, 0.1, 9).excess == np.inf


def test_a_source_that_is_not_sound_itself_is_told_and_no_fault_of_int8(
    tiny: Recipe, graph: Artifact, tiny_data: Path
) -> None:
    job = _job(tiny, graph, tiny_data)

    def broken(inputs: Tensors) -> Mapping[str, Array]:
        return {name: np.full_like(array, np.nan) for name, array in job.reference.run(inputs).items()}

    examination = Examination(job.engine, job.calibration, Reference(broken, False), job.build, 0)
    assert any("NaN or infinity" in why for why in examination.notes)
    examination.refuse_collapsed(graph)
    assert examination.distance(graph) == np.inf


def test_a_collapsed_model_stops_the_job(
    tiny: Recipe, graph: Artifact, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Examination._outputs

    def broken(self: Examination, *given: object) -> object:
        for batch, outputs in real(self, *given):  # type: ignore[arg-type]
            yield batch, {name: np.zeros_like(array) for name, array in outputs.items()}

    monkeypatch.setattr(Examination, "_outputs", broken)
    monkeypatch.setattr(quantizing, "_read_record", lambda *_: None)
    with pytest.raises(EngineError, match="collapsed on calibration images: 'output1' is the same for all"):
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
        lowered(Plan(tiny, engine, Build(tiny, "fp32", 8), precision_plan=plan), graph, None, (), Silent())
    half = lowered(Plan(tiny, engine, Build(tiny, "fp16", 8), precision_plan=plan), graph, None, (), Silent())
    assert half.artifact is not graph
    assert any("by the block list: node_linear" in note for note in half.notes)
    with opened(engine, half.artifact, Build(tiny, "fp16", 8)) as runner:
        assert runner.precision == "fp16"
    with pytest.raises(UsageError, match="made already"):
        lowered(Plan(tiny, engine, Build(tiny, "fp16", 8), precision_plan=plan), half.artifact, None, (), Silent())


def test_of_a_distance_the_rise_is_the_loss() -> None:
    assert Loss("max_abs", 0.3, 0.0, 0.2, 9, rise_is_loss=True).excess == pytest.approx(0.1)
    assert Loss("max_abs", 0.1, 0.0, 0.2, 9, rise_is_loss=True).excess < 0
