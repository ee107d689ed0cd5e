"""Masks and keypoints from drawn files to a verdict.

The network is made by hand: it calls what has a thing's colour that thing, all of a colour together one. That is right
where an image holds one thing of a colour, and wrong where it holds two: its figures are low, and hang on every pixel.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Call
from modelport.core import trust
from modelport.data.drawn.coco import draw_coco

NET = """
import torch
from torch import nn

# Car, umbrella, banana among COCO's 80 classes: their colours against the others', for values in 0 to 1.
KINDS = (2, 25, 46)
COLOURS = ((-40.0, -10.0, 45.0, -12.0), (25.0, -50.0, 20.0, -6.0), (20.0, 20.0, -45.0, -9.0))


class Masks(nn.Module):
    def __init__(self):
        super().__init__()
        self.colours = nn.Conv2d(3, len(KINDS), 1)
        with torch.no_grad():
            values = torch.tensor(COLOURS)
            self.colours.weight.copy_(values[:, :3, None, None])
            self.colours.bias.copy_(values[:, 3])

    def boxes(self, x):
        masks = torch.sigmoid(self.colours(x))
        size = masks.shape[-1]
        steps = torch.arange(size, dtype=torch.float32)
        ends = []
        for axis in (2, 3):
            inside = masks.amax(axis) > 0.5
            ends.append((torch.where(inside, steps, size).amin(-1), torch.where(inside, steps + 1, 0).amax(-1)))
        (left, right), (top, bottom) = ends
        score = masks.mean((2, 3)).sqrt().clamp(max=1)
        dets = torch.stack([left, top, right, bottom, score], -1)
        kinds = torch.tensor(KINDS).expand(score.shape)
        return dets, torch.where(right > left, kinds, -1), masks

    def forward(self, x):
        return self.boxes(x)


class Points(Masks):
    def forward(self, x):
        dets, labels, _ = self.boxes(x)
        left, top, right, bottom, score = dets.unbind(-1)
        x, y = (left + right) / 2, (top + bottom) / 2
        places = torch.stack([left, y, x, top, right, y, x, bottom, x, y], -1)
        places = places.unflatten(-1, (5, 2))
        return dets, labels, torch.cat([places, score[..., None, None].expand(places.shape[:-1] + (1,))], -1)
"""
RECIPE = """
schema = "modelport.recipe/1"
name = "things"
task = "{task}"
metrics = ["{prefix}mAP", "{prefix}mAP_50", "{prefix}mAP_l"]
model.architecture = "finder:{network}"
tensors.inputs = [{{ name = "input", dtype = "float32", shape = ["batch", 3, 96, 96] }}]
tensors.outputs = [
    {{ name = "dets", dtype = "float32", shape = ["batch", 3, 5] }},
    {{ name = "labels", dtype = "int64", shape = ["batch", 3] }},
    {{ name = "shapes", dtype = "float32", shape = ["batch", 3, {shape}] }},
]
preprocess = [
    {{ step = "decode", color = "RGB", exif_rotation = "ignore" }},
    {{ step = "letterbox", width = 96, height = 96, colour = [114], placement = "center", enlarge = true, \
interpolation = "bilinear" }},
    {{ step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] }},
]
dataset.kind = "coco"
dataset.classes = 80
"""
TASKS = {
    "instances": {"prefix": "mask_", "network": "Masks", "shape": "96, 96"},
    "keypoints": {"prefix": "oks_", "network": "Points", "shape": "5, 3"},
}
SIGMAS = "keypoints.sigmas = [0.2, 0.2, 0.2, 0.2, 0.2]\n"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("things") / "set"
    draw_coco(folder, count=8, train=3, seed=4)
    return folder


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the network."""
    (tmp_path / "finder.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    trust.trust_nothing()
    sys.modules.pop("finder", None)


def result(folder: str) -> Any:
    return json.loads((Path(folder) / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_it_comes_to_a_verdict(task: str, finder: Path, call: Call, drawn: Path) -> None:
    text = RECIPE.format(task=task, **TASKS[task])
    Path("things.toml").write_text(text + (SIGMAS if task == "keypoints" else ""))
    name = TASKS[task]["prefix"] + "mAP"
    for engine, precision in (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "int8")):
        given = ("--data", drawn, "--trust-code", "--engine", engine, "--precision", precision)
        calibration = ("--calibration", drawn) if precision == "int8" else ()
        answer = call("run", "things.toml", *given, *calibration, "--out", f"{engine}-{precision}")
        told = result(f"{engine}-{precision}")
        assert answer.code in (1, 3), answer  # 8 images are too few for a verdict
        checks = {check["name"]: check["verdict"] for check in told["checks"]}
        assert checks["finite"] == "pass"
        if precision == "fp32":
            assert checks[f"{name}_vs_source"] == "inconclusive" and checks["outputs_match_source"] == "pass"
            assert told["metrics"]["source_agreement"]["value"] > 98
            assert told["metrics"][f"{name}_50"]["value"] > 0.02 and told["per_class"]
    photos = ("--images", drawn / "val2017", "--predict", "--limit", 4, "--trust-code", "--out", "blind")
    blind = call("run", "things.toml", *photos, "--engine", "onnxruntime")
    assert blind.code in (0, 3), blind
    assert set(result("blind")["metrics"]) == {"source_agreement"}


def test_drawn_outlines_are_what_was_drawn(drawn: Path) -> None:
    """The area is the runs' of what is inside; keypoints lie on the box's edge."""
    content = json.loads((drawn / "annotations" / "instances_val2017.json").read_text())
    assert len(content["annotations"]) > 16
    for row in content["annotations"]:
        runs, (x, y, wide, high) = row["segmentation"]["counts"], row["bbox"]
        assert (
            sum(runs[1::2]) == row["area"]
            and sum(runs) == row["segmentation"]["size"][0] * row["segmentation"]["size"][1]
        )
        points = [row["keypoints"][place : place + 3] for place in range(0, 15, 3)]
        assert (points[0][0], points[1][1], points[2][0], points[3][1]) == (x, y, x + wide, y + high)
        assert all(point[2] == 2 and x <= point[0] <= x + wide and y <= point[1] <= y + high for point in points)
