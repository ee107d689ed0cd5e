"""``run --predict`` and ``--images``: no label is looked at, the verdict rests on the agreement with the source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.placement import Placement
from modelport.core.values import Array, Check, RowId, Truth
from modelport.recipes.load import load_recipe
from modelport.tasks.scoring import Rows
from modelport.tasks.table import task_of
from modelport.verdict.chance import AGREEMENT
from modelport.verdict.rules import Evidence, overall
from modelport.verdict.unlabelled import judge_unlabelled

Call = Callable[..., Any]


@pytest.fixture
def run(call: Call, null_path: Path, null_weights: Path, tmp_path: Path) -> Call:
    """Run the recipe of the null engine."""

    def answered(*words: object, recipe: Path = null_path, weights: bool = True) -> Any:
        given = ("--weights", null_weights) if weights else ()
        return call("run", recipe, *given, "--out", tmp_path / "out", "--engine", "null", "--force", *words)

    return answered


@pytest.fixture(scope="module")
def images(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, in two folders, without their labels."""
    folder = tmp_path_factory.mktemp("images")
    for number, path in enumerate(sorted((tiny_data / "val").iterdir())):
        place = folder / ("odd" if number % 2 else "even/deeper")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder


def _checks(result: Any) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in result["checks"]}


@pytest.mark.slow
def test_images_with_a_file_of_labels_are_scored_as_the_data_set(run: Call, tiny_data: Path, tmp_path: Path) -> None:
    labelled = run("--data", tiny_data, "--json").json
    words = ("--images", tiny_data / "val", "--labels", tiny_data / "val_label.txt")
    answer = run(*words, "--json")
    assert answer.code == 0, answer
    assert answer.json["metrics"] == labelled["metrics"] and answer.json["n"] == 310
    run("--data", tiny_data, "--labels", tiny_data / "val_label.txt").refused("--images")
    run(*words[:3], tmp_path / "none.txt").refused("none.txt")
    (tmp_path / "few.txt").write_text("ILSVRC2012_val_00000001 3\n")
    run(*words[:3], tmp_path / "few.txt").refused("few.txt")


@pytest.mark.slow
def test_labels_are_not_looked_at(run: Call, tiny_data: Path, images: Path, tmp_path: Path) -> None:
    labelled = run("--data", tiny_data, "--json").json
    for words in (("--data", tiny_data), ("--images", images)):
        answer = run(*words, "--predict", "--json")
        assert answer.code == 0, answer
        result = answer.json
        assert set(result["metrics"]) == {"source_agreement"} and result["n"] == labelled["n"] == 310
        assert result["metrics"]["source_agreement"] == labelled["metrics"]["source_agreement"]
        assert result["dataset"]["labels"] == "not looked at" and "labels were not looked at" in result["rests_on"]
        assert result["dataset"]["name"] == ("images" if "--images" in words else "imagenet")
        checks = _checks(result)
        assert checks[AGREEMENT] == "pass" and checks["top1_vs_source"] == "not_applicable"
        assert "top1_above_chance" not in checks and "labels_aligned" not in checks
        lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
        assert len(lines) == 310 and all(line["target"] is None and line["top5"] for line in lines)
    assert "not looked at" in (tmp_path / "out" / "report.md").read_text()
    assert {line["id"].partition("/")[0] for line in lines} == {"odd", "even"}


def test_too_few_images_or_no_source_prove_nothing(run: Call, images: Path) -> None:
    """Of a share of 97 % at 95 %: 0.97 to the power of 98 is just above, of 99 just below 5 %."""
    few = run("--images", images, "--predict", "--limit", 98, "--json", "--force")
    check = next(check for check in few.json["checks"] if check["name"] == AGREEMENT)
    assert few.code == 3 and check["verdict"] == "inconclusive" and 98 < check["needed_n"] < 120
    assert check["interval"] == [pytest.approx(100 * 0.05 ** (1 / 98)), 100.0]
    assert run("--images", images, "--predict", "--limit", 99, "--force").code == 0


@pytest.mark.slow
def test_without_a_source_there_are_answers_and_no_verdict(
    call: Call, tiny_path: Path, images: Path, tmp_path: Path, exported_tiny: Callable[..., Any]
) -> None:
    model, _ = exported_tiny()
    words = ("--model", model.path, "--source", "none", "--engine", "onnxruntime", "--predict", "--json")
    answer = call("run", tiny_path, "--images", images, "--out", tmp_path / "out", *words)
    assert answer.code == 3 and answer.json["verdict"] == "incomplete" and answer.json["metrics"] == {}, answer
    assert _checks(answer.json)[AGREEMENT] == "incomplete"
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 310


@pytest.mark.slow
def test_a_data_set_kind_without_labels_is_one(
    run: Call, call: Call, null_path: Path, images: Path, tmp_path: Path
) -> None:
    text = null_path.read_text(encoding="utf-8")
    start, end = text.index("[dataset]"), text.index("[[published]]")
    rest = text[end:]
    text = text[:start] + '[dataset]\nkind = "images"\n\n' + rest[rest.index("[[speeds]]") :]
    recipe = tmp_path / "own.toml"
    recipe.write_text(text, encoding="utf-8")
    assert run("--data", images, "--predict", recipe=recipe).code == 0
    run("--data", images, recipe=recipe).refused("tiny: the task classification is scored against labels", "--predict")
    (tmp_path / "r").mkdir()
    call("evaluate", recipe, "--data", images, "--results", tmp_path / "r").refused("is scored against labels")


def test_words_that_do_not_go_together_are_refused(run: Call, images: Path, tiny_data: Path, tmp_path: Path) -> None:
    run("--images", images).refused(f"--images {images}: the task classification is scored against labels", "--predict")
    run("--images", images, "--data", tiny_data, "--predict").refused("--data and --images were both given")
    run("--predict").refused("neither --data nor --images was given")
    run("--images", tmp_path / "nowhere", "--predict").refused("nowhere does not exist")


def test_agreement_decides_where_nothing_else_is_known() -> None:
    """Beside labels it only casts doubt; alone it fails the port."""
    recipe = load_recipe("moco-v2")
    evidence = Evidence({}, {}, False, 400, (), 300)
    doubt = Check(AGREEMENT, "inconclusive", 80.0, 97.0, "")
    assert overall(judge_unlabelled(recipe, evidence, [doubt])) == "fail"
    assert overall(judge_unlabelled(recipe, evidence, [Check(AGREEMENT, "pass", 99.0, 97.0, "")])) == "pass"
    assert overall(judge_unlabelled(recipe, evidence, [])) == "incomplete"
    assert overall(judge_unlabelled(recipe, Evidence({}, None, False, 400, (), 300), [])) == "incomplete"


def test_a_detector_without_annotations_is_held_against_the_sources_boxes() -> None:
    """The count of met boxes is that of the scorer with annotations; nothing of these comes through."""
    recipe = load_recipe("nas-fpn")
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 200, (3, 100, 2))
    dets = np.concatenate([corners, corners + rng.uniform(20, 90, (3, 100, 2)), rng.random((3, 100, 1))], axis=2)
    labels = rng.integers(0, 80, (3, 100))
    source: dict[str, Array] = {"dets": dets.astype(np.float32), "labels": labels}
    engine: dict[str, Array] = {
        "dets": (dets + rng.choice([0, 30], (3, 100, 1), p=[0.8, 0.2])).astype(np.float32),
        "labels": labels,
    }
    places = [Placement(640, 640, 1.0, 1.0, 0, 0)] * 3
    empty = np.zeros(0)
    truths = [Truth(n, np.zeros((0, 4)), empty.astype(int), empty.astype(bool), empty) for n in range(3)]
    ids = [RowId(str(n)) for n in range(3)]
    seeing = task_of(recipe, [(n, str(n)) for n in range(80)]).scorer(True)
    blind = task_of(recipe).unlabelled_scorer(True)
    seeing.take(Rows(ids, truths, engine, source, places))
    lines = blind.take(Rows(ids, [None] * 3, engine, source, places))
    mine, theirs = blind.figures(), seeing.figures()
    assert (mine.flips.met, mine.flips.of, mine.flips.count) == (theirs.flips.met, theirs.flips.of, theirs.flips.count)
    assert 0 < mine.flips.met < mine.flips.of and mine.metrics == {} and not mine.chance
    assert all(line["target"] is None and line["boxes"] for line in lines)
