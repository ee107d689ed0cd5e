"""Every recipe loads a checkpoint in its published wrapping and gives the reference's numbers, also once exported."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seeded_weights import seeded_array, seeded_input

from modelport.core.progress import Silent
from modelport.model.graph.file import opset_of, read_graph, signature_of
from modelport.model.source import SourceModel, load_source
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.export import export_checked

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {
    "moco-v2": "moco_v2",
    "simclr": "simclr",
    "inception-v4": "inception_v4",
    "smlp-t": "smlpnet_t",
    "nas-fpn": "retinanet_r50_nasfpn",
}


def _wrapped(name: str, state: dict[str, Any]) -> Any:
    """Return a state dict as its publisher wraps it."""
    match name:
        case "moco-v2":
            return {"epoch": 99, "state_dict": {f"module.{key}": value for key, value in state.items()}}
        case "simclr":
            return {"epoch": 1, "arch": "resnet18", "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}
        case "inception-v4":
            # Saved before torch 0.4.1: there were no step counters yet.
            return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        case "smlp-t":
            return {"model": state, "epoch": 299, "args": argparse.Namespace(model="smlpnet_tiny", lr=np.float64(0.1))}
        case _:
            return {"meta": {"epoch": 50, "CLASSES": ("person",)}, "state_dict": state}


@pytest.fixture(scope="module", params=sorted(FILES))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SourceModel:
    golden = json.loads((GOLDEN / f"{FILES[request.param]}.json").read_text())
    state = {
        key: torch.from_numpy(np.asarray(seeded_array(key, tuple(shape), gain=golden["gain"])))
        for key, shape in golden["state_dict"].items()
    }
    path = tmp_path_factory.mktemp("weights") / "published.pth"
    torch.save(_wrapped(request.param, state), path)
    recipe = load_recipe(request.param)
    if request.param == "nas-fpn":
        # The export is the same road for a small input; its numbers are held in tests/model/architectures.
        text = json.dumps(recipe.to_json())
        assert text.count("640") >= 6
        recipe = Recipe.model_validate(json.loads(text.replace("640", "128")))
    return load_source(recipe, path)


@pytest.mark.slow
def test_the_published_wrapping_gives_the_reference_numbers(source: SourceModel) -> None:
    name = source.recipe.name
    notes = " ".join(source.notes)
    assert ("num_batches_tracked" in notes) == (name == "inception-v4")
    if name == "nas-fpn":
        return  # its numbers are held in tests/model/architectures
    golden = np.load(GOLDEN / f"{FILES[name]}.npz")["output"]
    shape = tuple(json.loads((GOLDEN / f"{FILES[name]}.json").read_text())["input_shape"])
    with torch.inference_mode():
        got = source.module(torch.from_numpy(seeded_input(shape))).numpy()
    np.testing.assert_allclose(got, golden, rtol=0, atol=1e-4 * np.abs(golden).max())


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "batch"), [(11, 1), (20, None)])
def test_both_exporters_write_the_model(source: SourceModel, tmp_path: Path, opset: int, batch: int | None) -> None:
    if source.recipe.name == "moco-v2":
        return  # held to the reference's numbers in test_export.py
    artifact, checks = export_checked(source, tmp_path / "x.onnx", opset, batch, Silent())
    assert {check.verdict for check in checks} == {"pass"}
    graph = read_graph(artifact.path)
    assert opset_of(graph) == opset
    want = source.recipe.signature if batch is None else source.recipe.signature.with_batch(batch)
    assert signature_of(graph) == want


@pytest.mark.slow
def test_the_background_can_be_dropped(tmp_path: Path) -> None:
    whole = load_recipe("inception-v4")
    golden = json.loads((GOLDEN / "inception_v4.json").read_text())
    state = {
        key: torch.from_numpy(np.asarray(seeded_array(key, tuple(shape), gain=golden["gain"])))
        for key, shape in golden["state_dict"].items()
    }
    torch.save(state, tmp_path / "x.pth")
    images = torch.from_numpy(seeded_input((1, 3, 299, 299)))
    with torch.inference_mode():
        every = load_source(whole, tmp_path / "x.pth").module(images)
        less = load_source(whole.with_variant("imagenet-1000"), tmp_path / "x.pth")
        torch.testing.assert_close(less.module(images), every[:, 1:])
    assert any("background" in note for note in less.notes)
