"""From files to a verdict for the tasks whose labels are no single class: on drawn sets, engines and in int8."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_recipes import CASES, Case

from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.data.drawn.table import DRAWN
from modelport.data.files.guide_names import encoded
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build
from modelport.engines.null import FEATURES
from modelport.engines.registry import get_engine, opened
from modelport.jobs.samples import make_data
from modelport.recipes.load import load_recipe
from saved_outputs import save

Call = Callable[..., Any]
EVERY = pytest.mark.parametrize("task", CASES)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Draw a set of so many validation pictures, once; it is not to be changed."""
    base = tmp_path_factory.mktemp("drawn")

    def draw(kind: str, count: int) -> Path:
        out = base / f"{kind}-{count}"
        if not out.exists():
            make_data(kind, out, count, 1, Silent())
        return out

    return draw


@pytest.fixture
def null(tmp_path: Path) -> Callable[[str], tuple[Case, Path, Path]]:
    """Return a case with its recipe on the null engine, and a linear map drawn at random."""

    def made(task: str) -> tuple[Case, Path, Path]:
        case, weights = CASES[task], tmp_path / "map.npz"
        shape = FEATURES + 1, int(np.prod(case.output))
        np.savez(weights, out=np.random.default_rng(2).normal(size=shape) / 8)
        return case, case.write(tmp_path / "x.toml", architecture="null"), weights

    return made


@pytest.mark.slow
@EVERY
def test_run_and_evaluate_tell_the_same_figures(call: Call, task: str, null: Any, drawn: Any, tmp_path: Path) -> None:
    case, path, weights = null(task)
    data = drawn(case.drawn, 80)
    given = (path, "--weights", weights, "--data", data, "--out", tmp_path / "out", "--engine", "null", "--json")
    answer = call("run", *given)
    assert answer.json["verdict"] == "inconclusive", answer  # of 80 samples
    metrics = answer.json["metrics"]
    assert set(case.metrics) <= set(metrics) and metrics["source_agreement"]["value"] == 100
    lines = [json.loads(one) for one in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == answer.json["n"] == 80 and all("target" in line for line in lines)
    assert case.metrics[0] in (tmp_path / "out" / "report.md").read_text()

    recipe = load_recipe(str(path))
    samples = open_dataset(recipe, data)
    with opened(get_engine("null"), Artifact.of(weights, "checkpoint"), Build(recipe, "fp32", 8)) as runner:
        for batch in feed(recipe, iter(samples), 8, seed=0):
            for row, values in zip(batch.ids, runner.run(batch.inputs)["out"], strict=False):
                save(tmp_path / "saved", encoded(row), [values[None]], "npy")
    found = call("evaluate", path, "--results", tmp_path / "saved", "--data", data, "--json")
    want = {name: score["value"] for name, score in metrics.items() if name != "source_agreement"}
    assert {name: score["value"] for name, score in found.json["metrics"].items()} == pytest.approx(want, rel=1e-9)


@EVERY
def test_without_labels_the_agreement_is_the_verdict(
    call: Call, task: str, null: Any, drawn: Any, tmp_path: Path
) -> None:
    case, path, weights = null(task)
    words = ("run", path, "--weights", weights, "--engine", "null", "--json", "--force", "--out", tmp_path / "out")
    images = drawn(case.drawn, 80) / "val"
    call(*words, "--images", images).refused("--predict")
    answer = call(*words, "--images", images, "--predict")
    assert set(answer.json["metrics"]) == {"source_agreement"} and answer.json["verdict"] == "pass"
    verdicts = {check["name"]: check["verdict"] for check in answer.json["checks"]}
    assert verdicts["agreement_explained"] == "pass"
    assert verdicts[f"{case.metrics[0]}_vs_source"] == "not_applicable"
    lines = [json.loads(one) for one in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 80 and {line["target"] for line in lines} == {None}


@pytest.mark.slow
@EVERY
def test_a_verdict_on_two_engines_and_in_int8(call: Call, task: str, drawn: Any, tmp_path: Path) -> None:
    for engine in ("onnxruntime", "openvino", "nncf"):
        pytest.importorskip(engine)
    case = CASES[task]
    path, weights = case.write(tmp_path / "x.toml"), tmp_path / "w.pth"
    data = drawn(case.drawn, DRAWN[case.drawn].images)
    assert call("samples", "weights", path, "--data", data, "--out", weights, "--trust-code").code == 0
    for words in (("onnxruntime",), ("openvino",), ("openvino", "--precision", "int8", "--calibration", data)):
        given = ("--weights", weights, "--data", data, "--out", tmp_path / "out", "--trust-code", "--force", "--json")
        answer = call("run", path, *given, "--engine", *words)
        assert answer.code == 0, answer
        checks = {check["name"]: check["verdict"] for check in answer.json["checks"]}
        assert checks[f"{case.metrics[0]}_vs_source"] == checks["agreement_explained"] == "pass"
        chances = [verdict for name, verdict in checks.items() if name.endswith("_above_chance")]
        assert chances and set(chances) == {"pass"}
