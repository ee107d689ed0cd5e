"""A graph that takes pixels normalises them as the host does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from conftest import Exported
from modelport.core.errors import GraphError, UsageError
from modelport.core.progress import Silent
from modelport.core.values import TensorSpec
from modelport.engines.ascend.nms import ON_DEVICE
from modelport.engines.base import Build
from modelport.engines.registry import get_engine, opened
from modelport.model.graph.file import read_graph, signature_of
from modelport.model.graph.pixel_input import recipe_of_pixels, with_pixel_input
from modelport.model.source import SourceModel, load_source
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.export import export_checked, normalised, pixels_cached, take_pixels, trial_pixels


@pytest.fixture(scope="module")
def source(tiny: Recipe, tiny_weights: Path) -> SourceModel:
    return load_source(tiny, tiny_weights)


def _nothing(recipe: Recipe) -> object:
    """A graph that hands its input on."""
    spec = recipe.signature.inputs[0]
    before = helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, list(spec.shape))
    after = helper.make_tensor_value_info("same", TensorProto.FLOAT, list(spec.shape))
    node = helper.make_node("Identity", [spec.name], ["same"])
    graph = helper.make_graph([node], "nothing", [before], [after])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("name", ["moco-v2", "inception-v4", "simclr", "nas-fpn"])
def test_the_first_nodes_are_the_recipes_normalisation(name: str) -> None:
    recipe = load_recipe(name)
    pixels = trial_pixels(recipe, 1)
    step = next(step for step in recipe.preprocess if step.step == "normalize")
    want = (pixels.astype(np.float64) / step.divide - np.array(step.mean)) / np.array(step.std)
    model = with_pixel_input(_nothing(recipe), recipe)  # type: ignore[arg-type]
    (got,) = ReferenceEvaluator(model).run(None, {recipe.tensors.inputs[0].name: pixels})
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, want.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got, normalised(recipe, pixels))


@pytest.mark.slow
def test_the_input_is_pixels_with_the_same_name(source: SourceModel, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    artifact, checks = export_checked(source, out, 20, None, Silent(), pixels=True)
    assert [check.verdict for check in checks] == ["pass"] * 5
    assert checks[-1].name == "pixels_match_host"
    want = TensorSpec(source.recipe.tensors.inputs[0].name, "uint8", ("batch", 32, 32, 3))
    assert signature_of(read_graph(artifact.path)).inputs == (want,)
    assert artifact.made_from == (source.checkpoint.sha256,)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [None, 3])
def test_pixels_give_the_answers_of_normalised_floats(
    source: SourceModel, exported_tiny: Exported, engine: str, batch: int | None, tmp_path: Path
) -> None:
    floats, _ = exported_tiny(20, batch)
    graph, _ = take_pixels(floats, source.recipe, tmp_path / "pixels.onnx")
    pixels, name = trial_pixels(source.recipe, 3), source.recipe.tensors.inputs[0].name
    with opened(get_engine(engine), floats, Build(source.recipe, batch=3)) as runner:
        want = runner.run({name: normalised(source.recipe, pixels)})
    with opened(get_engine(engine), graph, Build(recipe_of_pixels(source.recipe), batch=3)) as runner:
        got = runner.run({name: pixels})
    np.testing.assert_allclose(got["output1"], want["output1"], rtol=1e-4, atol=1e-4 * np.abs(want["output1"]).max())


@pytest.mark.slow
def test_a_graph_that_normalises_otherwise_is_refused(
    source: SourceModel, exported_tiny: Exported, tmp_path: Path
) -> None:
    floats, _ = exported_tiny()
    steps = [step.model_copy(update={"std": (1.0, 1.0, 1.0)}) if step.step == "normalize" else step
             for step in source.recipe.preprocess]  # fmt: skip
    graph = with_pixel_input(read_graph(floats.path), source.recipe.model_copy(update={"preprocess": steps}))
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(graph.SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelport.model.graph.pixel_input.with_pixel_input", lambda model, recipe: graph)
        with pytest.raises(GraphError, match="with the normalisation inside, the outputs differ"):
            take_pixels(floats, source.recipe, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_the_cache_gives_the_same_file(source: SourceModel, exported_tiny: Exported) -> None:
    floats, _ = exported_tiny()
    first, second = pixels_cached(floats, source.recipe), pixels_cached(floats, source.recipe)
    assert first == second


def test_what_has_no_pixels_is_refused(source: SourceModel, exported_tiny: Exported, tmp_path: Path) -> None:
    floats, _ = exported_tiny()
    graph, _ = take_pixels(floats, source.recipe, tmp_path / "pixels.onnx")
    with pytest.raises(GraphError, match="no float32 input"):
        with_pixel_input(read_graph(graph.path), source.recipe)
    with pytest.raises(UsageError, match="casts after the normalisation"):
        recipe_of_pixels(load_recipe("simclr").with_variant("published"))
    with pytest.raises(UsageError, match="AIPP"):
        take_pixels(floats, source.recipe, tmp_path / "a.onnx", ON_DEVICE)
