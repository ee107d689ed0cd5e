"""The recipes of the catalogue's guides go the whole road: show, weights, export, compile's words, run.

Three of them in the suite; all of them, on both engines, where MODELPORT_LONG_GUIDES is set (an hour of two cores).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from conftest import Call
from modelport.data.drawn.imagenet import draw_imagenet

LONG = bool(os.environ.get("MODELPORT_LONG_GUIDES"))
CATALOGUE: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "catalogue.json").read_text())
SHORT = ("resnet-18", "mobilenet-v3-large", "repvgg-a0")
NAMES = [name for name in CATALOGUE if name != "about"]
ENGINES = ("onnxruntime", "openvino") if LONG else ("onnxruntime",)
# Scored rows. The suite only asks whether the road holds; the long run looks at more.
COUNT = 12 if LONG else 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "data"
    draw_imagenet(folder, count=COUNT, train_per_class=3 if LONG else 1, classes=10 if LONG else 2, seed=3)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_goes_the_whole_road(name: str, data: Path, call: Call, tmp_path: Path) -> None:
    if not LONG and name not in SHORT:
        pytest.skip("MODELPORT_LONG_GUIDES is not set")
    weights, graph = tmp_path / "sample.pth", tmp_path / "net.onnx"
    assert call("show", name).code == 0
    assert call("samples", "weights", name, "--data", data, "--out", weights).code == 0
    exported = call("export", name, "--weights", weights, "--out", graph, "--json").json
    assert {check["verdict"] for check in exported["checks"]} == {"pass"}, exported
    planned = ["--engine", "ascend", "--dry-run", "--soc", "310P3", "--out", tmp_path / "net.om"]
    line = call("compile", name, graph, *planned).out.split()
    assert set(CATALOGUE[name]["atc"]) <= {word[2:].partition("=")[0] for word in line[1:]}
    for engine in ENGINES:
        out = tmp_path / engine
        told = call("run", name, "--weights", weights, "--data", data, "--engine", engine, "--out", out, "--json").json
        assert "error" not in told, told
        verdicts = {check["name"]: check["verdict"] for check in told["checks"]}
        assert told["n"] == COUNT and "fail" not in verdicts.values(), told["checks"]
        # Too few for a verdict on accuracy, and that is the only thing which is open.
        assert told["verdict"] == "inconclusive", told
        print(name, engine, told["metrics"], [c for c in exported["checks"] if "outputs" in c["name"]])
    assert onnx.load(str(graph), load_external_data=False).graph.input[0].name
