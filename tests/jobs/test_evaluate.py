"""``evaluate`` gives the figures of ``run``, and the JSON of the guides' scripts."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.progress import Silent
from modelport.core.values import Array
from modelport.data.sets.table import open_dataset
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report.result_folder import COMPANIONS
from modelport.tasks.contrastive.task import drawn_pairs
from modelport.tasks.detection.coco_map import CocoMap
from saved_outputs import ENGINE, infer, lines, save

pytest_plugins = "step_data"
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def ran(
    tiny_path: Path, tiny_onnx: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """What ``run`` gives for the whole tiny set, one image at a time."""
    from modelport.jobs.run import run
    from modelport.jobs.run_request import RunRequest
    from modelport.stages.plan import Wish

    out = tmp_path_factory.mktemp("ran")
    result = run(
        RunRequest(str(tiny_path), tiny_data, out, model=tiny_onnx, source="none", wish=Wish(ENGINE, batch=1)), Silent()
    )
    yield result.to_json(), lines(out / "predictions.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize(("format", "style"), [("bin", "modelport"), ("npy", "guide"), ("txt", "modelport")])
def test_evaluate_gives_the_figures_of_run(
    call: Call,
    tiny_path: Path,
    tiny: Recipe,
    tiny_onnx: Path,
    tiny_data: Path,
    ran: tuple[dict[str, Any], list[dict[str, Any]]],
    tmp_path: Path,
    format: str,
    style: str,
) -> None:
    call("preprocess", tiny_path, "--data", tiny_data, "--out", tmp_path / "t", "--style", style, "--json")
    infer(tiny, tiny_onnx, tmp_path / "t", tmp_path / "r", format)
    out = tmp_path / "out"
    answer = call("evaluate", tiny_path, "--results", tmp_path / "r", "--data", tiny_data, "--out", out, "--json")
    result, predictions = answer.json, lines(out / "predictions.jsonl")
    streamed, wanted = ran
    assert json.loads((out / "result.json").read_text()) == result and "# tiny:" in (out / "report.md").read_text()
    assert result["metrics"] == streamed["metrics"]
    assert set(streamed["companions"]) == set(COMPANIONS)
    for name, digest in result["companions"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    for key in ("schema", "verdict", "n", "dataset", "checks", "published", "reference", "recipe_sha256", "seed"):
        if key != "checks":
            assert result[key] == streamed[key], key
    assert answer.code == 3 and (result["engine"], result["precision"], result["batch"]) == (None, None, None)
    if format == "txt":
        near = [[pytest.approx(score, abs=1e-6) for _, score in line["top5"]] for line in wanted]
        assert [[score for _, score in line["top5"]] for line in predictions] == near
        assert [line["id"] for line in predictions] == [line["id"] for line in wanted]
    else:
        assert predictions == wanted


def test_batch_files_give_the_same_predictions_as_run(
    call: Call, tiny_path: Path, tiny: Recipe, tiny_onnx: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run_out, out = tmp_path / "run", tmp_path / "out"
    words = ("--data", tiny_data, "--limit", 11)
    call(
        "run",
        tiny_path,
        "--model",
        tiny_onnx,
        "--source",
        "none",
        *words,
        "--out",
        run_out,
        "--engine",
        ENGINE,
        "--batch",
        4,
    )
    call("preprocess", tiny_path, *words, "--out", tmp_path / "t", "--batch-size", 4)
    infer(tiny, tiny_onnx, tmp_path / "t", tmp_path / "r", "bin", batch=4)
    assert len(list((tmp_path / "r").iterdir())) == 3
    answer = call("evaluate", tiny_path, "--results", tmp_path / "r", *words, "--out", out, "--json")
    assert answer.code == 3, answer
    assert lines(out / "predictions.jsonl") == lines(run_out / "predictions.jsonl")
    assert answer.json["metrics"] == json.loads((run_out / "result.json").read_text())["metrics"]


def guide_accuracy(folder: Path, labels: Path, offset_at: int) -> dict[str, Any]:
    """What the published script for ImageNet does with a folder of TXT results."""
    truth = {}
    for line in labels.read_text().splitlines():
        name, label = line.strip().split(" ")
        truth[name.split(".")[0]] = int(label)
    hits, count, width = [0] * 5, 0, 0
    for path in folder.iterdir():
        if path.name.endswith("summary.json"):
            continue
        count += 1
        values = [float(word) for word in path.read_text().split("\n")[0].strip().split(" ")]
        width = len(values)
        best = np.argsort(-np.array(values))
        wanted = truth[path.name.split(".")[0].rpartition("_")[0]] + (1 if width == offset_at else 0)
        if wanted in best[:5].tolist():
            hits[best[:5].tolist().index(wanted)] += 1
    rows = [("Number of images", str(count)), ("Number of classes", str(width))]
    shares = np.cumsum(hits) / count
    rows += [(f"Top{k + 1} accuracy", str(round(float(shares[k]) * 100, 2)) + "%") for k in range(5)]
    value = [{"key": key, "value": text} for key, text in rows]
    return {"title": "Overall statistical evaluation", "value": value}


@pytest.mark.parametrize(
    ("target", "format", "word"),
    [(1e-8, "txt", "inconclusive"), (0.0, "txt", "fail"), (1e-8, "npy", "incomplete")],
    ids=["digits too few", "wrong in any digits", "all digits"],
)
def test_a_drop_below_the_published_figure_that_few_digits_explain_is_no_failure(
    call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path, target: float, format: str, word: str
) -> None:
    text = tiny_path.read_text().replace("published_n = 50_000", "published_n = 310")
    (tmp_path / "whole.toml").write_text(text)
    rows = [line.split() for line in (tiny_data / "val_label.txt").read_text().splitlines()]
    for number, (name, label) in enumerate(rows):
        # Seven of ten right; the others' class comes second, by how much only more digits than six tell.
        shares = np.full((1, 10), 1e-9 if target else 0.01, np.float32)
        lost = number % 10 >= 7
        shares[0, int(label)] = target if lost else 0.9
        shares[0, (int(label) + number % 9 + 1) % 10] += 0.5 if lost else 0.0
        save(tmp_path / "r", name.partition(".")[0], [shares], format)
    words = ("--results", tmp_path / "r", "--data", tiny_data, "--json")
    result = call("evaluate", tmp_path / "whole.toml", *words).json
    assert result["metrics"]["top1"]["value"] == 70.0
    assert result["metrics"]["top5"]["value"] == (100.0 if format == "npy" else 70.0)
    assert result["verdict"] == word
    names = [check["name"] for check in result["checks"] if "ties" in check["why"]]
    assert names == (["txt_digits", "top5_vs_published"] if word == "inconclusive" else [])


def test_inputs_that_reach_too_far_are_told(call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_text(tiny_path.read_text().replace("divide = 255.0", "divide = 1.0"))
    for image in sorted((tiny_data / "val").iterdir())[:3]:
        save(tmp_path / "r", image.stem, [np.eye(10, dtype=np.float32)[:1]], "npy")
    words = ("--results", tmp_path / "r", "--data", tiny_data, "--limit", 3, "--order", "data", "--json")
    for recipe, told in ((tmp_path / "bytes.toml", True), (tiny_path, False)):
        notes = call("evaluate", recipe, *words).json["notes"]
        assert any("normalised inputs reach from -2.118 to 1136" in note for note in notes) == told


@pytest.mark.parametrize("recipe_name", ["moco-v2", "inception-v4"])
def test_the_guides_json_is_what_its_script_writes(
    call: Call, tiny_data: Path, tmp_path: Path, recipe_name: str
) -> None:
    width = load_recipe(recipe_name).dataset.classes
    assert width is not None
    labels = dict(line.split() for line in (tiny_data / "val_label.txt").read_text().splitlines()[:97])
    rng = np.random.default_rng(5)
    few = tmp_path / "few"
    (few / "val").mkdir(parents=True)
    (few / "val_label.txt").write_text("".join(f"{name} {label}\n" for name, label in labels.items()))
    for number, (name, label) in enumerate(labels.items()):
        shutil.copy(tiny_data / "val" / name, few / "val")
        logits = rng.normal(size=(1, width)).astype(np.float32)
        logits[0, int(label) + (width == 1001)] += number % 7  # right, nearly right, or lost
        save(tmp_path / "r" / "run", name.partition(".")[0], [logits], "txt")
    (tmp_path / "r" / "run" / "x_summary.json").write_text("{}")
    answer = call(
        "evaluate", recipe_name, "--results", tmp_path / "r" / "run", "--data", few, "--style", "guide", "--json"
    )
    assert answer.code == 0
    assert answer.json == guide_accuracy(tmp_path / "r" / "run", few / "val_label.txt", 1001)


def test_smlp_results_are_judged_as_its_script_does_on_fifty_per_class(
    call: Call, tiny_data: Path, tmp_path: Path
) -> None:
    image = next((tiny_data / "val").iterdir())
    for number in range(100):
        place = tmp_path / "data" / "val" / str(number // 50) / f"{number:03d}.jpeg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image.read_bytes() + bytes([number]))  # a content of its own: repeats count once
    rng = np.random.default_rng(6)
    first, top5 = 0, 0
    for number in range(100):
        logits = rng.normal(size=(1, 1000)).astype(np.float32)
        logits[0, number // 50] += number % 6
        save(tmp_path / "r", f"batch-{number:05d}", [logits], "npy")
        row = np.load(tmp_path / "r" / f"batch-{number:05d}_0.npy")[0]
        first += int(np.argmax(row) == number // 50)
        top5 += int(number // 50 in np.argsort(row)[-5:])
    answer = call("evaluate", "smlp-t", "--results", tmp_path / "r", "--data", tmp_path / "data", "--json")
    metrics = answer.json["metrics"]
    assert (metrics["top1"]["value"], metrics["top5"]["value"]) == (first, top5)
    # The same rows, three to a file.
    rows = np.concatenate([np.load(tmp_path / "r" / f"batch-{number:05d}_0.npy") for number in range(100)])
    for number in range(34):
        save(tmp_path / "b", f"batch-{number:05d}", [rows[3 * number : 3 * number + 3]], "bin")
    again = call("evaluate", "smlp-t", "--results", tmp_path / "b", "--data", tmp_path / "data", "--json").json
    assert again["metrics"] == metrics


@pytest.mark.parametrize("names", ["guide", "modelport"])
def test_pairs_are_scored_from_saved_views(call: Call, cifar: Path, tmp_path: Path, names: str) -> None:
    rng = np.random.default_rng(7)
    base = rng.normal(size=(140, 1, 128))
    features = (base + 1.2 * rng.normal(size=(140, 2, 128))).astype(np.float32)
    for number, row in enumerate(features.reshape(280, 1, 128)):
        own = f"test_batch%2F{number // 2:05d}%23{number % 2}"
        save(tmp_path / "r", f"Simclr_prep_{number}" if names == "guide" else own, [row], "bin")
    words = ("evaluate", "simclr", "--results", tmp_path / "r", "--data", cifar, "--json")
    result = call(*words).json
    assert result["metrics"]["contrastive_top1"]["value"] == pytest.approx(_pairs_found(features[:128]), abs=1e-9)
    assert any("knn_top1 was not measured" in note for note in result["notes"])
    assert any("12 images fill no batch" in note for note in result["notes"])
    drawn = [_pairs_found(features[images]) for images in drawn_pairs(140, 4)]
    published = call(*words, "--seed", 4, "--style", "guide").json
    assert published["value"] == [
        {"key": "Number of images", "value": "140"},
        {"key": "accuracy1", "value": f"{round(float(np.mean(drawn)), 2)}%"},
    ]
    printed = call(*words[:-1], "--seed", 4, "--style", "guide").out
    # The script's own digits: the percentages of the batches, added up and divided once.
    assert f"accuracy1 = {sum(drawn) / len(drawn)}" in printed.splitlines()


def _pairs_found(pairs: Array) -> float:
    """What the published script does with one batch: both halves, cosines, the first of the ranking."""
    rows = np.concatenate([pairs[:, 0], pairs[:, 1]]).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    half = len(pairs)
    own = np.array([cosines[row, (row + half) % (2 * half)] for row in range(2 * half)])
    return 100.0 * float(np.mean((cosines > own[:, None] + 1e-12).sum(1) == 0))


@pytest.fixture
def boxes(coco: Path, tmp_path: Path) -> Path:
    """Made-up detections near the truth, in network pixels, some of them doubtful; int32 labels."""
    rng = np.random.default_rng(8)
    content = _annotations(coco)
    index = {number: place for place, number in enumerate(sorted(row["id"] for row in content["categories"]))}
    for image in content["images"]:
        scale = min(640 / image["width"], 640 / image["height"])
        left = (640 - int(image["width"] * scale + 0.5)) // 2
        top = (640 - int(image["height"] * scale + 0.5)) // 2
        dets, labels = np.zeros((1, 100, 5), np.float32), np.full((1, 100), -1, np.int32)
        truths = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        for place, row in enumerate(truths):
            x, y, width, height = row["bbox"]
            corners = np.array([x, y, x + width, y + height]) * scale + [left, top, left, top]
            dets[0, place] = [*(corners + rng.normal(size=4)), rng.uniform(0.3, 1)]
            dets[0, 50 + place] = [*(corners + 40), 0.03]
            labels[0, place] = labels[0, 50 + place] = index[row["category_id"]]
        save(tmp_path / "r", Path(image["file_name"]).stem, [dets, labels], "bin")
    return tmp_path / "r"


def test_boxes_come_back_to_the_image_and_the_threshold_drops_doubtful_ones(
    call: Call, coco: Path, boxes: Path, tmp_path: Path
) -> None:
    words = ("evaluate", "nas-fpn", "--results", boxes, "--data", coco, "--json")
    files = ("--detections", tmp_path / "d", "--coco-json", tmp_path / "c.json", "--draw", tmp_path / "p")
    result = call(*words, *files, "--out", tmp_path / "out").json
    assert result["metrics"]["mAP"]["value"] > 0.5 and any("int32" in note for note in result["notes"])
    assert not any("guide's script" in note for note in result["notes"])
    call(*words, "--style", "guide", "--out", tmp_path / "guide")
    said = json.loads((tmp_path / "guide" / "result.json").read_text())["notes"]
    assert any("one scale for both sides" in note for note in said)
    assert "one scale for both sides" in (tmp_path / "guide" / "report.md").read_text()
    listed = lines(tmp_path / "out" / "predictions.jsonl")
    scores = [score for line in listed for _, score, *_ in line["boxes"]]
    assert min(scores) < 0.05
    detections = json.loads((tmp_path / "c.json").read_text())
    texts = sorted((tmp_path / "d").iterdir())
    assert len(detections) == sum(score >= 0.05 for score in scores) == _lines_of(texts)
    assert len(list((tmp_path / "p").iterdir())) == 3
    content = _annotations(coco)
    for row in detections:
        near = [
            max(abs(np.array(row["bbox"]) - truth["bbox"]))
            for truth in content["annotations"]
            if (truth["image_id"], truth["category_id"]) == (row["image_id"], row["category_id"])
        ]
        assert min(near) < 12
    guide = call(*words, "--style", "guide").json
    names = [row["key"] for row in guide["value"]]
    assert names == ["Number of images", "Number of classes", *load_recipe("nas-fpn").metrics]
    strict = call(*words, "--score-threshold", 0.99).json
    assert strict["metrics"]["mAP"]["value"] < result["metrics"]["mAP"]["value"]
    call(*words, "--score-threshold", 1.5).refused("--score-threshold 1.5")


def test_boxes_are_judged_as_the_guides_scripts_judge_them(call: Call, coco: Path, boxes: Path) -> None:
    """The scripts map boxes by one scale for both sides, and drop those below 0.05."""
    recipe = load_recipe("nas-fpn")
    dataset = open_dataset(recipe, coco)
    sizes = {row["id"]: (row["width"], row["height"]) for row in _annotations(coco)["images"]}
    judge = CocoMap(dataset.categories)
    for sample in dataset:
        dets = np.fromfile(boxes / f"{sample.id}_0.bin", np.float32).reshape(100, 5)
        labels = np.fromfile(boxes / f"{sample.id}_1.bin", np.int32)
        width, height = sizes[sample.target.image_id]
        scale = min(640 / width, 640 / height)
        left, top = (640 - width * scale) // 2, (640 - height * scale) // 2
        found = (dets[:, :4] - [left, top, left, top]) / scale
        found = np.clip(found, 0, [width, height, width, height])
        kept = (dets[:, 4] >= 0.05) & (labels >= 0)
        judge.add(sample.target, found[kept], dets[kept, 4], labels[kept])
    wanted = {name: score.value for name, score in judge.compute().items()}
    answer = call("evaluate", "nas-fpn", "--results", boxes, "--data", coco, "--style", "guide", "--json").json
    got = {row["key"]: float(row["value"]) for row in answer["value"][2:]}
    assert got == {name: pytest.approx(wanted.get(name, -1.0), abs=1e-3) for name in recipe.metrics}
    assert 0.3 < got["mAP"] < 1


def _annotations(coco: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((coco / "annotations" / "instances_val2017.json").read_text())
    return content


def _lines_of(texts: list[Path]) -> int:
    return sum(len(path.read_text().splitlines()) for path in texts)


@pytest.mark.parametrize("format", ["bin", "npy", "txt"])
def test_boxes_are_the_same_in_every_format(call: Call, coco: Path, boxes: Path, tmp_path: Path, format: str) -> None:
    for path in sorted(boxes.glob("*_0.bin")):
        dets = np.fromfile(path, np.float32).reshape(1, 100, 5)
        labels = np.fromfile(path.with_name(path.name.replace("_0.", "_1.")), np.int32).reshape(1, 100)
        save(tmp_path / format, path.name.partition("_")[0], [dets, labels.astype(np.int64)], format)
    words = ("--data", coco, "--json")
    wanted = call("evaluate", "nas-fpn", "--results", boxes, *words).json["metrics"]
    got = call("evaluate", "nas-fpn", "--results", tmp_path / format, *words).json["metrics"]
    assert got == {
        name: score | {"value": pytest.approx(score["value"], abs=1e-3 if format == "txt" else 0)}
        for name, score in wanted.items()
    }
