"""The recipes of the catalogue's guides go the whole road: show, weights, export, compile's words, run.

Three of them in the suite, of which one with the export, which takes longest; all of them, on both engines, where
MODELPORT_LONG_GUIDES is set (half an hour of a core).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conftest import Call
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.recipes.load import load_recipe

LONG = bool(os.environ.get("MODELPORT_LONG_GUIDES"))
CATALOGUE: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "catalogue.json").read_text())
SHORT = {"resnet-18": "onnxruntime", "repvgg-a0": "torch", "mobilenet-v3-large": "torch"}
# A recipe without a network is run from a file that somebody else exported.
NAMES = [name for name in CATALOGUE if name != "about" and load_recipe(name).model]
# Scored rows. The suite only asks whether the road holds; the long run looks at more.
COUNT = 12 if LONG else 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "data"
    draw_imagenet(folder, count=COUNT, train_per_class=3 if LONG else 1, classes=10 if LONG else 2, seed=3)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_goes_the_whole_road(
    name: str, data: Path, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not LONG and name not in SHORT:
        pytest.skip("MODELPORT_LONG_GUIDES is not set")
    weights = tmp_path / "sample.pth"
    assert call("show", name).code == 0
    assert call("samples", "weights", name, "--data", data, "--out", weights).code == 0
    if LONG:
        # What ATC of the guides' time takes.
        graph = tmp_path / "net.onnx"
        told = call("export", name, "--weights", weights, "--out", graph, "--opset", "11", "--json").json
        assert {check["verdict"] for check in told["checks"]} == {"pass"}, told
        _compiles(name, graph, call)
    for engine in ("onnxruntime", "openvino") if LONG else (SHORT[name],):
        out = tmp_path / engine
        told = call("run", name, "--weights", weights, "--data", data, "--engine", engine, "--out", out, "--json").json
        assert "error" not in told, told
        failed = [check for check in told["checks"] if check["verdict"] == "fail"]
        assert told["n"] == COUNT and not failed, failed
        # Too few for a verdict on accuracy, and that is the only thing which is open.
        assert told["verdict"] == "inconclusive", told
        difference = [check["got"] for check in told["checks"] if check["name"] == "outputs_match_source"]
        if LONG:
            with capsys.disabled():
                print(f"\n{name} {engine} {told['verdict']}: outputs_match_source {difference}")
        for row in told["artifacts"]:
            if row["kind"] == "onnx" and "exports" in row["path"]:
                _compiles(name, row["path"], call)


def _compiles(name: str, graph: Path, call: Call) -> None:
    """The line for ATC names each option of the guide, the nodes of the real graph among them."""
    planned = ["--engine", "ascend", "--dry-run", "--soc", "310P3", "--out", "net.om"]
    answer = call("compile", name, graph, *planned)
    assert answer.code == 0, answer
    given = {word[2:].partition("=")[0] for word in answer.out.split()[1:]}
    assert set(CATALOGUE[name]["atc"]) <= given
