"""Where what weights tell of themselves is said: in notes of the source, by ``check`` and by ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.engines.source import source_from_checkpoint
from modelport.jobs.check import check_weights
from modelport.jobs.show import show
from modelport.model.architectures import build_random
from modelport.recipes.schema import Recipe
from modelport.stages import source as stage
from modelport.stages.source import file_health, source_of, with_health

BROKEN = "the weights look broken: "


@pytest.fixture(scope="module")
def settled(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights as sample weights are: a random network, norms that saw data, and a fitted last layer."""
    rng = np.random.default_rng(0)
    state = build_random(tiny.network, 0).state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", "running_var")):
            tensor.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, tensor.shape)))
    state["fc.weight"] = torch.outer(
        torch.from_numpy(rng.normal(size=10)), torch.from_numpy(rng.normal(size=512))
    ).float()
    path = tmp_path_factory.mktemp("settled") / "w.pth.tar"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return path


@pytest.fixture(scope="module")
def flipped(settled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return these with the highest exponent bit of one weight flipped."""
    content = torch.load(settled, weights_only=True)
    weight = content["state_dict"]["module.layer2.0.conv1.weight"].numpy()
    weight.view(np.uint32).reshape(-1)[1234] ^= np.uint32(1 << 30)
    path = tmp_path_factory.mktemp("flipped") / "w.pth.tar"
    torch.save(content, path)
    return path


def test_the_source_says_what_is_certain_and_looks_once(
    tiny: Recipe, flipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = source_of(tiny, flipped, Silent()).notes
    assert [note for note in notes if note.startswith(f"{BROKEN}layer2.0.conv1.weight: one value of ")]
    monkeypatch.setattr(stage, "findings_of_module", lambda _: pytest.fail("looked again"))
    assert source_of(tiny, flipped, Silent()).notes == notes


def test_sample_weights_are_no_reason_for_a_note(tiny: Recipe, settled: Path) -> None:
    assert not [note for note in with_health(source_from_checkpoint(tiny, settled)).notes if "look" in note]


def test_check_says_it(tiny_path: Path, settled: Path, flipped: Path) -> None:
    said, sound = (check_weights(str(tiny_path), path, Silent())["notes"] for path in (flipped, settled))
    assert [note for note in said if note.startswith(BROKEN)]
    assert not [note for note in sound if "look" in note]


def test_show_has_it_of_a_checkpoint(settled: Path, flipped: Path) -> None:
    told: list[Any] = [show(str(path))["state_dicts"]["'state_dict'"]["weights"] for path in (settled, flipped)]
    assert [(found["kind"], found["certain"]) for found in told[0]["findings"]] == [("untrained", False)]
    assert told[0]["layers"]["trained"] == 1
    assert [found["kind"] for found in told[1]["findings"] if found["certain"]] == ["absurd_size"]


def test_a_graph_of_absurd_weights_is_told_as_a_checkpoint_is(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    weight[1, 2, 0, 1] = 1e20
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, 9, 9]) for name in "xy")
    graph = onnx.helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    path = tmp_path / "m.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    assert show(str(path))["weights"]["findings"][0]["kind"] == "absurd_size"
    assert file_health(Artifact.of(path, "onnx"))[0].startswith(f"{BROKEN}w: one value of 1e+20, at (1, 2, 0, 1)")


def test_a_tensor_that_claims_more_than_the_file_holds_is_not_looked_into(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(1 << 18, 1 << 18)}, tmp_path / "w.pth")
    assert show(str(tmp_path / "w.pth"))["state_dicts"]["top level"]["weights"] == {}
