"""The null engine keeps the contract of engines by arithmetic of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.values import Array
from modelport.engines.base import Build
from modelport.engines.null import NullEngine
from modelport.engines.registry import choose_engine, defaults, model_artifact, opened
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

NULL = NullEngine()


@pytest.fixture(scope="module")
def recipe(null_path: Path) -> Recipe:
    return load_recipe(str(null_path))


@pytest.fixture(scope="module")
def weights(null_weights: Path) -> Artifact:
    return Artifact.of(null_weights, "checkpoint")


def _answer(model: Artifact, options: Build) -> Array:
    images = np.random.default_rng(4).standard_normal((options.batch or 4, 3, 32, 32), dtype=np.float32)
    with opened(NULL, model, options) as runner:
        return runner.run({"actual_input_1": images})["output1"]


def test_it_runs_whatever_is_installed_and_is_never_chosen_by_itself() -> None:
    assert NULL.available().usable and choose_engine("null", "int8").name == "null"
    assert "null" not in [engine.name for engine in defaults()] and choose_engine(None, "fp32").name != "null"


def test_its_answer_is_the_linear_map_of_the_weights(weights: Artifact, recipe: Recipe) -> None:
    images = np.random.default_rng(4).standard_normal((4, 3, 32, 32), dtype=np.float32)
    means = images.astype(np.float64).reshape(4, 64, -1).mean(axis=2)  # 3072 values are 64 parts of 48
    matrix = np.load(weights.path)["output1"]
    np.testing.assert_allclose(_answer(weights, Build(recipe, batch=4)), means @ matrix[:-1] + matrix[-1], rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_a_lower_precision_is_really_lower(precision: str, weights: Artifact, recipe: Recipe) -> None:
    exact, rounded = (_answer(weights, Build(recipe, word, 4)) for word in ("fp32", precision))
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, rtol=1e-3, atol=1e-4)


def test_what_it_compiled_knows_its_origin_and_its_tensors(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"never read")
    graph = model_artifact(tmp_path / "x.onnx")
    made = NULL.compile(graph, Build(recipe), tmp_path / "x.null")
    assert made.made_from == (graph.sha256,) and made.sha256 == model_artifact(made.path).sha256
    assert np.array_equal(_answer(made, Build(recipe, batch=4)), _answer(graph, Build(recipe, batch=4)))
    with opened(NULL, made, Build(precision=None)) as runner:
        assert runner.signature == recipe.signature
    with pytest.raises(EngineError, match=r"writes \.null files"):
        NULL.compile(graph, Build(recipe), tmp_path / "x.bin")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": "modelport.null/1"}', b"\xff"])
def test_a_damaged_file_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.null").write_bytes(content)
    with pytest.raises(EngineError, match=r"x\.null"), opened(NULL, model_artifact(tmp_path / "x.null"), Build()):
        pass


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (None, r"x\.npz"),
        ({"other": np.zeros((65, 10))}, "has nothing for 'output1'"),
        ({"output1": np.zeros((65, 11))}, r"float64 \(65, 11\) for 'output1'"),
        ({"output1": np.zeros((65, 10), np.float32)}, r"float32 \(65, 10\) for 'output1'"),
    ],
)
def test_weights_of_another_network_are_named(
    arrays: dict[str, Array] | None, said: str, recipe: Recipe, tmp_path: Path
) -> None:
    if arrays is None:
        (tmp_path / "x.npz").write_bytes(b"PK\x03\x04none")
    else:
        np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    model = Artifact.of(tmp_path / "x.npz", "checkpoint")
    with pytest.raises(EngineError, match=said), opened(NULL, model, Build(recipe, batch=1)):
        pass
