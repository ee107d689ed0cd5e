"""One contract for every engine that is present."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conftest import Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, SignatureError, UsageError
from modelport.core.values import Array
from modelport.engines.base import Build
from modelport.engines.registry import (
    ENGINES,
    availabilities,
    choose_engine,
    defaults,
    get_engine,
    model_artifact,
    opened,
)
from modelport.model.source import SourceModel, load_source
from modelport.recipes.schema import Recipe

HERE = availabilities()
# The Ascend engine runs what ATC compiled: its contract stands in test_ascend.py.
USABLE = [name for name, entry in HERE.items() if entry.usable and get_engine(name).consumes != {"om"}]
# Those that run any network: what the null engine answers is its own, and test_null.py holds it.
REAL = [name for name in USABLE if get_engine(name).by_default]
# Largest difference from the source as a share of its largest output: bfloat16 keeps 8 bits of each factor.
CLOSE = {"fp32": 1e-5, "bf16": 0.05}
# fp16 and int8 take another file than the float32 graph: test_quantize.py and test_precision.py hold those.
PAIRS = [(name, precision) for name in REAL for precision in HERE[name].precisions if precision in CLOSE]


@pytest.fixture(scope="module")
def source(tiny: Recipe, tiny_weights: Path) -> SourceModel:
    return load_source(tiny, tiny_weights)


@pytest.fixture(scope="module")
def graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny()[0]


@pytest.fixture(params=USABLE)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def _model(engine: str, source: SourceModel, graph: Artifact) -> Artifact:
    return source.checkpoint if "checkpoint" in get_engine(engine).consumes else graph


def _images(count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, 3, 32, 32), dtype=np.float32)


def _reference(source: SourceModel, images: Array) -> Array:
    import torch

    with torch.inference_mode():
        answer: Array = source.module(torch.from_numpy(images)).numpy()
    return answer


@pytest.mark.parametrize(("engine", "precision"), PAIRS)
def test_outputs_are_the_sources_and_the_precision_is_what_ran(
    engine: str, precision: str, source: SourceModel, graph: Artifact, tiny: Recipe
) -> None:
    images = _images(4)
    with opened(get_engine(engine), _model(engine, source, graph), Build(tiny, precision, 4)) as runner:
        outputs = runner.run({"actual_input_1": images})
        assert runner.precision == precision
    want = _reference(source, images)
    difference = np.abs(outputs["output1"] - want).max() / np.abs(want).max()
    assert difference <= CLOSE[precision]
    # A run in bfloat16 that gives float32's digits did not run in bfloat16.
    assert precision == "fp32" or difference > CLOSE["fp32"]


def test_signature_and_borders(engine: str, source: SourceModel, graph: Artifact, tiny: Recipe) -> None:
    with opened(get_engine(engine), _model(engine, source, graph), Build(tiny, batch=2)) as runner:
        assert runner.signature == tiny.signature.with_batch(2)
        assert runner.concurrency >= 1
        for wrong in (
            {"input": _images(2)},
            {"actual_input_1": _images(2), "more": _images(2)},
            {"actual_input_1": _images(2).astype(np.float64)},
            {"actual_input_1": _images(3)},
            {"actual_input_1": _images(2)[0]},
        ):
            with pytest.raises(SignatureError):
                runner.run(wrong)
        runner.run({"actual_input_1": _images(2)})


def test_batch_size_does_not_change_an_answer(engine: str, source: SourceModel, graph: Artifact, tiny: Recipe) -> None:
    images, model = _images(6), _model(engine, source, graph)
    answers = []
    for batch in (1, 2, 6):
        with opened(get_engine(engine), model, Build(tiny, batch=batch)) as runner:
            parts = [runner.run({"actual_input_1": images[start : start + batch]}) for start in range(0, 6, batch)]
        answers.append(np.concatenate([part["output1"] for part in parts]))
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=0, atol=1e-5 * np.abs(answers[0]).max())


def test_the_caller_owns_the_outputs(engine: str, source: SourceModel, graph: Artifact, tiny: Recipe) -> None:
    with opened(get_engine(engine), _model(engine, source, graph), Build(tiny, batch=2)) as runner:
        first = runner.run({"actual_input_1": _images(2)})["output1"]
        kept = first.copy()
        for _ in range(2 * runner.concurrency):
            runner.run({"actual_input_1": -_images(2)})
        np.testing.assert_array_equal(first, kept)
        first += 1  # writable


def test_how_an_input_lies_in_memory_does_not_matter(
    engine: str, source: SourceModel, graph: Artifact, tiny: Recipe
) -> None:
    images = _images(2)
    fixed = images.copy()
    fixed.flags.writeable = False
    forms = {
        "read-only": fixed,
        "fortran": np.asfortranarray(images),
        "strided": np.repeat(images, 2, axis=3)[..., ::2],
    }
    if engine == "torch":
        del forms["read-only"]  # PyTorch warns of it
    with opened(get_engine(engine), _model(engine, source, graph), Build(tiny, batch=2)) as runner:
        want = runner.run({"actual_input_1": images})["output1"]
        for name, form in forms.items():
            for _ in range(2 * runner.concurrency):
                got = runner.run({"actual_input_1": form})["output1"]
                np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max(), err_msg=name)


def test_many_threads_get_their_own_answers(engine: str, source: SourceModel, graph: Artifact, tiny: Recipe) -> None:
    inputs = [_images(1) * scale for scale in range(1, 13)]
    with opened(get_engine(engine), _model(engine, source, graph), Build(tiny, batch=1)) as runner:
        alone = [runner.run({"actual_input_1": one})["output1"] for one in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda one: runner.run({"actual_input_1": one})["output1"], inputs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(one).max())


@pytest.mark.slow
@pytest.mark.parametrize("engine", REAL)
def test_the_compiled_artifact_runs_and_knows_its_origin(
    engine: str, source: SourceModel, graph: Artifact, tiny: Recipe, tmp_path: Path
) -> None:
    chosen = get_engine(engine)
    suffix = {"openvino": ".xml"}.get(engine, ".onnx")
    if engine == "torch":
        with pytest.raises(EngineError, match="nothing to compile"):
            chosen.compile(source.checkpoint, Build(tiny), tmp_path / "x")
        return
    for batch in (None, 2):
        artifact = chosen.compile(graph, Build(tiny, batch=batch), tmp_path / f"tiny-{batch}{suffix}")
        assert graph.sha256 in artifact.made_from
        assert artifact.sha256 == model_artifact(artifact.path).sha256
        with opened(chosen, artifact, Build(tiny, batch=2)) as runner:
            got = runner.run({"actual_input_1": _images(2)})["output1"]
        want = _reference(source, _images(2))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.slow
def test_a_graph_fixed_to_another_batch_is_refused_with_the_right_one(exported_tiny: Exported, tiny: Recipe) -> None:
    fixed, _ = exported_tiny(20, 3)
    for engine in REAL:
        if "onnx" in get_engine(engine).consumes:
            with (
                pytest.raises(EngineError, match="--batch 3"),
                opened(get_engine(engine), fixed, Build(tiny, batch=2)),
            ):
                pass


@pytest.mark.parametrize("engine", REAL)
def test_a_damaged_model_is_one_clear_error(engine: str, tiny: Recipe, tmp_path: Path) -> None:
    if engine == "torch":
        return
    (tmp_path / "x.onnx").write_bytes(b"\x08\x07\x12\x04none")
    with (
        pytest.raises(Exception, match=r"x\.onnx") as caught,
        opened(get_engine(engine), model_artifact(tmp_path / "x.onnx"), Build(tiny, batch=1)),
    ):
        pass
    assert type(caught.value).__module__ == "modelport.core.errors"


def test_every_engine_says_whether_it_is_usable() -> None:
    assert set(HERE) == set(ENGINES)
    for entry in HERE.values():
        assert (entry.usable and entry.version and "fp32" in entry.precisions) or (entry.reason and entry.install)


@pytest.mark.parametrize("engine", [engine.name for engine in defaults()])
def test_an_engine_that_is_not_installed_says_how_to_install_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = "ais_bench" if engine == "ascend" else engine
    monkeypatch.setitem(__import__("sys").modules, package, None)  # importing it now raises ImportError
    assert not get_engine(engine).available().usable
    with pytest.raises(EngineError, match="pip install"):
        choose_engine(engine, "fp32")
    assert choose_engine(None, "fp32").name != engine


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        ("openvin", "fp32", "did you mean 'openvino'"),
        ("onnxruntime", "bf16", "no bfloat16 convolution"),
        ("openvino", "fp23", "did you mean 'fp32'"),
        ("torch", "int8", "choose one of: fp32"),
        ("openvino", "fp16", "runs another precision"),
    ],
)
def test_an_unknown_name_or_precision_is_refused_with_the_reason(engine: str, precision: str, message: str) -> None:
    with pytest.raises((UsageError, EngineError), match=message):
        choose_engine(engine, precision)


def test_bf16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelport.core.machine.has_bf16", lambda: False)
    for engine in ("openvino", "torch"):
        with pytest.raises(EngineError, match="no bfloat16 instructions"):
            choose_engine(engine, "bf16")


@pytest.mark.parametrize(
    ("engine", "precision"),
    [(name, word) for name in REAL for word in HERE[name].precisions if word not in CLOSE],
)
def test_a_float32_graph_is_never_passed_off_as_another_precision(
    engine: str, precision: str, graph: Artifact, tiny: Recipe
) -> None:
    with (
        pytest.raises(EngineError, match=f"in fp32, {precision} was asked for"),
        opened(get_engine(engine), graph, Build(tiny, precision, 2)),
    ):
        pass


def test_a_precision_run_for_its_accuracy_alone_says_so() -> None:
    assert "float32" in dict(HERE["onnxruntime"].accuracy_only)["fp16"]
    assert all(set(dict(entry.accuracy_only)) <= set(entry.precisions) for entry in HERE.values())
