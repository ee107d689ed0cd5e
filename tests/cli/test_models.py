"""The other models through the command line: pairs of views, boxes, variants, and bad input of their formats."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.data.drawn.imagenet import draw_imagenet
from modelport.engines.null import FEATURES
from modelport.model.architectures import build_random
from modelport.model.samples.fit import save_as_published
from modelport.recipes.load import load_recipe

Call = Callable[..., Any]


def _untrained(recipe_name: str, folder: Path) -> Path:
    recipe = load_recipe(recipe_name)
    return save_as_published(
        build_random(recipe.network, 0), recipe.checkpoint, folder / recipe.published_weights.file
    ).path


@pytest.mark.slow
def test_pairs_of_views_score_the_same_on_every_engine_and_batch_size(call: Call, cifar: Path, tmp_path: Path) -> None:
    weights = _untrained("simclr", tmp_path)
    figures = []
    settings: list[list[object]] = [["--engine", "torch"], ["--engine", "onnxruntime", "--batch", 7], ["--batch", 64]]
    for index, words in enumerate(settings):
        out = tmp_path / str(index)
        answer = call("run", "simclr", "--weights", weights, "--data", cifar, "--out", out, "--json", *words)
        assert answer.code == 3, answer
        result = answer.json
        assert (result["n"], result["dataset"]["n"], result["metrics"]["contrastive_top1"]["n"]) == (140, 140, 128)
        assert result["metrics"]["source_agreement"]["value"] >= 99
        assert any("12 images fill no batch" in note for note in result["notes"])
        figures.append([result["metrics"][name]["value"] for name in ("contrastive_top1", "knn_top1")])
        lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
        assert len(lines) == 140 and lines[139]["found"] is None
        found = [hit for line in lines[:128] for hit in line["found"]]
        assert figures[-1][0] == pytest.approx(100 * sum(found) / len(found))
    assert figures[0] == pytest.approx(figures[1], abs=1.0) and figures[0] == pytest.approx(figures[2], abs=1.0)


@pytest.mark.slow
def test_the_published_variant_is_another_and_seeded(call: Call, cifar: Path, tmp_path: Path) -> None:
    weights = _untrained("simclr", tmp_path)
    run = [
        "run",
        "simclr",
        "--weights",
        weights,
        "--data",
        cifar,
        "--json",
        "--engine",
        "torch",
        "--variant",
        "published",
    ]
    first, again, other = (
        call(*run, "--out", tmp_path / f"{index}", "--seed", seed).json for index, seed in enumerate((0, 0, 1))
    )
    assert first["variant"] == "published"
    assert first["metrics"]["contrastive_top1"] == again["metrics"]["contrastive_top1"]
    assert any("with replacement, seed 1" in note for note in other["notes"])
    call("run", "simclr", "--data", cifar, "--out", tmp_path / "x", "--variant", "publishd").refused(
        "did you mean 'published'"
    )


@pytest.mark.slow
def test_without_the_training_split_knn_is_said_to_be_missing(call: Call, cifar: Path, tmp_path: Path) -> None:
    batch = cifar / "cifar-10-batches-py" / "test_batch"
    words = ["--weights", _untrained("simclr", tmp_path), "--data", batch, "--out", tmp_path / "out"]
    result = call("run", "simclr", *words, "--engine", "torch", "--json").json
    assert "knn_top1" not in result["metrics"] and any("knn_top1" in note for note in result["notes"])


@pytest.fixture
def null_detector(tmp_path: Path) -> tuple[Path, Path]:
    """The recipe and weights of a null network that answers every image with the same hundred boxes."""
    text = files("modelport.recipes").joinpath("nas-fpn.toml").read_text(encoding="utf-8")
    recipe = tmp_path / "nas-fpn.toml"
    recipe.write_text(re.sub(r'^architecture = ".*"', 'architecture = "null"', text, count=1, flags=re.M))
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 640, (100, 2, 2)), axis=1).reshape(100, 4)
    boxes = np.concatenate([corners, np.sort(rng.uniform(0.05, 1, (100, 1)), axis=0)[::-1]], axis=1)
    maps = {"dets": np.zeros((FEATURES + 1, 500)), "labels": np.zeros((FEATURES + 1, 100))}
    maps["dets"][-1], maps["labels"][-1] = boxes.ravel(), rng.integers(0, 80, 100)
    np.savez(tmp_path / "boxes.npz", allow_pickle=False, **maps)
    return recipe, tmp_path / "boxes.npz"


def test_boxes_files_and_pictures(call: Call, coco: Path, null_detector: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, weights = null_detector
    words: list[object] = ["--weights", weights, "--data", coco, "--out", tmp_path / "out", "--engine", "null"]
    words += ["--limit", 2, "--json"]
    files_of_boxes = [
        "--draw",
        tmp_path / "out" / "draw",
        "--detections",
        tmp_path / "text",
        "--coco-json",
        tmp_path / "coco.json",
    ]
    answer = call("run", recipe, *words, *files_of_boxes)
    assert answer.code == 3, answer
    result = answer.json
    assert (result["n"], result["verdict"]) == (2, "inconclusive")
    assert result["metrics"]["mAP"]["unit"] == "fraction"
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    rows = json.loads((tmp_path / "coco.json").read_text())
    assert len(rows) == sum(len(line["boxes"]) for line in lines) > 100
    for line in lines:
        assert (tmp_path / "out" / "draw" / f"{line['id']}.jpg").is_file()
        text = (tmp_path / "text" / f"{line['id']}.txt").read_text().splitlines()
        assert len(text) == len(line["boxes"])
    # What lies in the folder of the result is held with it.
    listed = {name for name in json.loads((tmp_path / "out" / "manifest.json").read_text()) if "/" in name}
    assert listed == {f"draw/{line['id']}.jpg" for line in lines}


def test_detection_files_are_for_detectors(call: Call, cifar: Path, tmp_path: Path) -> None:
    call("run", "simclr", "--data", cifar, "--out", tmp_path / "o", "--draw", tmp_path / "d").refused("no detector")
    words = ["--weights", _untrained("simclr", tmp_path), "--out", tmp_path / "x.onnx", "--nms", "host"]
    call("export", "simclr", *words).refused("no detector")


def test_bad_coco_is_refused(call: Call, coco: Path, tmp_path: Path) -> None:
    run = ["run", "nas-fpn", "--weights", tmp_path / "w.pth", "--out", tmp_path / "out", "--data"]
    file = coco / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    bad = tmp_path / "bad"
    (bad / "annotations").mkdir(parents=True)
    (bad / "val2017").symlink_to(coco / "val2017")
    for change, word in (
        (
            {"images": [*content["images"], content["images"][0] | {"id": 9, "file_name": "000000000009.jpg"}]},
            "000000000009.jpg",
        ),
        ({"annotations": [content["annotations"][0] | {"category_id": 999}]}, "999"),
    ):
        (bad / "annotations" / file.name).write_text(json.dumps(content | change))
        call(*run, bad).refused(word)
    (bad / "annotations" / file.name).write_text("{")
    call(*run, bad).refused(file.name)


def test_bad_cifar_is_refused(call: Call, cifar: Path, tmp_path: Path) -> None:
    run = ["run", "simclr", "--weights", tmp_path / "w.pth", "--out", tmp_path / "out", "--data"]
    batch = tmp_path / "test_batch"
    whole = (cifar / "cifar-10-batches-py" / "test_batch").read_bytes()
    content = pickle.loads(whole, encoding="bytes")  # noqa: S301 - written by this test's own fixture
    batch.write_bytes(pickle.dumps(content | {b"labels": content[b"labels"][:-1]}, protocol=2))
    call(*run, batch).refused("test_batch")
    batch.write_bytes(whole[:1000])
    call(*run, batch).refused("test_batch")
    batch.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    call(*run, batch).refused("system")


def test_an_empty_class_folder_is_refused(call: Call, tmp_path: Path) -> None:
    draw_imagenet(tmp_path / "data", count=10, train_per_class=1)
    folders = tmp_path / "val"
    folders.mkdir()
    for folder in (tmp_path / "data" / "train").iterdir():
        folder.rename(folders / folder.name)
    (folders / "n99999999").mkdir()
    call("run", "smlp-t", "--weights", "w.pth", "--data", tmp_path, "--out", tmp_path / "out").refused("n99999999")
