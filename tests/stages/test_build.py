"""Compiled artifacts and found numbers are kept by digest, and used only while they are whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import Exported
from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.engines.base import Build, Launch
from modelport.engines.registry import get_engine, opened
from modelport.measure import in_flight
from modelport.measure.in_flight import Probe
from modelport.model.source import SourceModel, open_source
from modelport.recipes.schema import Recipe
from modelport.stages.build import built


@pytest.fixture(scope="module")
def graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny()[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_what_was_compiled_serves_every_batch_and_is_made_again_when_damaged(
    name: str, tiny: Recipe, graph: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    engine, options = get_engine(name), Build(tiny, batch=4)
    first = built(engine, graph, options).artifact
    assert first.made_from[0] == graph.sha256 and first.path != graph.path
    for batch in (4, 3):
        inputs = {"actual_input_1": np.random.default_rng(0).standard_normal((batch, 3, 32, 32), np.float32)}
        answers = []
        for model in (graph, first):
            with opened(engine, model, replace(options, batch=batch)) as runner:
                answers.append(runner.run(inputs)["output1"])
        np.testing.assert_allclose(answers[1], answers[0], rtol=1e-4, atol=1e-4)
    written = first.path.stat().st_mtime_ns
    assert built(engine, graph, options).artifact.sha256 == first.sha256
    assert first.path.stat().st_mtime_ns == written
    first.path.write_bytes(first.path.read_bytes()[:-20])
    again = built(engine, graph, options).artifact
    assert again.path.stat().st_mtime_ns != written
    with opened(engine, again, options):
        pass


def test_other_files_stay_as_they_are(tiny: Recipe, graph: Artifact) -> None:
    checkpoint = Artifact(graph.path, "checkpoint", graph.sha256)
    assert built(get_engine("torch"), checkpoint, Build(tiny)).artifact is checkpoint
    assert built(get_engine("torch"), graph, Build(tiny)).artifact is graph


def test_runs_in_flight_are_measured_once_and_only_where_it_pays(
    tiny: Recipe, graph: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))
    asked = list[object]()

    def measured(*words: object) -> list[Probe]:
        asked.append(words)
        return [Probe(1, 104.0), Probe(2, 100.0)]

    monkeypatch.setattr(in_flight, "probe_concurrency", measured)
    monkeypatch.setattr("modelport.core.machine.cores", lambda: 2)
    engine, options = get_engine("onnxruntime"), Build(tiny, batch=4)
    same, how = in_flight.with_best_in_flight(engine, graph, options, Launch(), 20, Silent())
    assert same == Launch() and "too few" in how and not asked
    found, how = in_flight.with_best_in_flight(engine, graph, options, Launch(), 1000, Silent())
    assert (found.in_flight, how) == (2, "measured")
    found, how = in_flight.with_best_in_flight(engine, graph, options, Launch(), 20, Silent())
    assert (found.in_flight, how, len(asked)) == (2, "measured before", 1)
    found, how = in_flight.with_best_in_flight(engine, graph, options, Launch(in_flight=1), 20, Silent())
    assert (found.in_flight, how, len(asked)) == (1, "as set", 1)
    found, how = in_flight.with_best_in_flight(get_engine("torch"), graph, options, Launch(), 1000, Silent())
    assert (found, len(asked)) == (Launch(), 1)
    (record,) = (tmp_path / "in-flight").iterdir()
    record.write_text(record.read_text().replace('"in_flight": 2', '"in_flight": 64'))
    found, how = in_flight.with_best_in_flight(engine, graph, options, Launch(), 1000, Silent())
    assert (found.in_flight, how, len(asked)) == (2, "measured", 2)


def test_a_source_is_read_when_it_is_needed_and_not_before(
    tiny: Recipe, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import modelport.model.source as module

    loaded, real = list[object](), module.load_source

    def counted(recipe: Recipe, weights: Path) -> SourceModel:
        loaded.append(weights)
        return real(recipe, weights)

    monkeypatch.setattr(module, "load_source", counted)
    source = open_source(tiny, tiny_weights)
    assert source.checkpoint.sha256 == real(tiny, tiny_weights).checkpoint.sha256 and not loaded
    assert source.module is source.module and source.notes == real(tiny, tiny_weights).notes
    assert len(loaded) == 1


def test_one_run_alone_must_be_clearly_faster_than_several() -> None:
    assert in_flight.beside_decoders([Probe(1, 104.0), Probe(2, 100.0)]) == 2
    assert in_flight.beside_decoders([Probe(1, 106.0), Probe(2, 100.0)]) == 1
    assert in_flight.beside_decoders([Probe(1, 100.0)]) == 1
    assert in_flight.beside_decoders([Probe(1, 90.0), Probe(2, 100.0), Probe(4, 100.5)]) == 2
