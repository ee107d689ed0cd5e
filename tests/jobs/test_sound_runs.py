"""``run`` never passes on what proves nothing: wrong labels, repeated images, too many skipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelport as mp
from conftest import Call
from modelport.recipes.load import load_recipe
from modelport.report.sentence import sentence

LABELS = "val_label.txt"


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_data, tmp_path / "data")
    return tmp_path / "data"


def _run(call: Call, recipe: Path, weights: Path, data: Path, *words: object, engine: str = "null") -> tuple[int, Any]:
    out = data.parent / "out"
    answer = call(
        *("run", recipe, "--weights", weights, "--data", data, "--out", out, "--engine", engine, "--force"),
        *("--json", *words),
    )
    return answer.code, answer.json


def _images(data: Path) -> list[Path]:
    return sorted((data / "val").iterdir())


def test_labels_in_another_numbering_do_not_pass(call: Call, null_path: Path, null_weights: Path, data: Path) -> None:
    _relabelled(data, lambda label: (label + 1) % 10)
    code, result = _run(call, null_path, null_weights, data)
    assert (code, result["verdict"]) == (3, "inconclusive")
    # The reason is told first.
    first = next(check for check in result["checks"] if check["verdict"] != "pass")
    assert first["name"] == "labels_aligned" and "by 9" in first["why"]


def _relabelled(data: Path, label_of: Callable[[int], int]) -> None:
    lines = [line.split() for line in (data / LABELS).read_text().splitlines()]
    (data / LABELS).write_text("".join(f"{name} {label_of(int(label))}\n" for name, label in lines))


@pytest.mark.parametrize(
    ("label_of", "reason", "words"),
    [
        ({2: 5, 5: 2}.get, "labels_aligned", ("label 2", "is answered as 5")),
        ({3: 7, 7: 9, 9: 3}.get, "labels_aligned", ("is answered as",)),
        (lambda label, _: (7 * label + 3) % 10, "labels_aligned", ("is answered as",)),
        (lambda label, _: 4, "labels_vary", ("310 labels are 4",)),
    ],
)
def test_labels_permuted_or_constant_do_not_pass_and_the_reason_is_first(
    call: Call,
    null_path: Path,
    null_weights: Path,
    data: Path,
    label_of: Callable[[int, int], int],
    reason: str,
    words: tuple[str, ...],
) -> None:
    _relabelled(data, lambda label: label_of(label, label))
    code, result = _run(call, null_path, null_weights, data)
    assert (code, result["verdict"]) == (3, "inconclusive")
    first = next(check for check in result["checks"] if check["verdict"] != "pass")
    assert first["name"] == reason and all(word in first["why"] for word in words)


@pytest.mark.slow
def test_a_drop_beside_permuted_labels_is_inconclusive(
    call: Call, null_path: Path, null_weights: Path, data: Path
) -> None:
    """A failure would be as unfounded as a pass; the one sentence tells the reason, and not the drop."""
    recipe = load_recipe(str(null_path))
    name = recipe.tensors.outputs[0].name
    weights = np.load(null_weights)[name]
    worse = weights + np.random.default_rng(0).normal(0, 0.1, weights.shape) * np.abs(weights).mean()
    np.savez(data.parent / "worse.npz", allow_pickle=False, **{name: worse})
    files = (null_weights, data.parent / "worse.npz")

    def judged() -> mp.Result:
        source, engine = (mp.answer(mp.source(recipe, file), mp.open_dataset(recipe, data)) for file in files)
        return mp.judge(recipe, engine, source)

    assert judged().verdict == "fail"
    _relabelled(data, lambda label: {3: 7, 7: 9, 9: 3}.get(label, label))
    result = judged()
    assert result.verdict == "inconclusive" and result.check("top1_vs_source").verdict == "inconclusive"
    assert sentence(result).startswith("inconclusive: labels_aligned: in another order")


@pytest.mark.slow
def test_a_missing_division_is_told_and_does_not_pass(
    call: Call, tiny_path: Path, tiny_weights: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "bytes.toml").write_text(tiny_path.read_text().replace("divide = 255.0", "divide = 1.0"))
    # A linear map, as the null engine's, would only scale.
    code, result = _run(call, tmp_path / "bytes.toml", tiny_weights, data, engine="onnxruntime")
    assert (code, result["verdict"]) == (3, "inconclusive")
    assert any("normalised inputs reach" in note for note in result["notes"])
    assert "normalised inputs reach" in (data.parent / "out" / "report.md").read_text()


def test_repeated_images_are_counted_once(call: Call, null_path: Path, null_weights: Path, data: Path) -> None:
    images = _images(data)
    for number, image in enumerate(images):
        if number >= 100:
            shutil.copy(images[number % 100], image)
    code, result = _run(call, null_path, null_weights, data)
    assert (code, result["verdict"]) == (3, "inconclusive")
    assert (result["n"], result["duplicates"]) == (100, 210)
    lines = (data.parent / "out" / "predictions.jsonl").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 100


@pytest.mark.slow
def test_more_skipped_than_allowed_does_not_pass(call: Call, null_path: Path, null_weights: Path, data: Path) -> None:
    for image in _images(data)[:5]:
        image.write_bytes(b"no image")
    words = ("--on-bad-image", "skip")
    code, result = _run(call, null_path, null_weights, data, *words)
    assert (code, result["verdict"], result["skipped"]) == (3, "inconclusive", 5)
    code, result = _run(call, null_path, null_weights, data, *words, "--max-skipped", "0.02")
    assert (code, result["verdict"]) == (0, "pass")


def test_a_forced_run_with_a_mistake_keeps_the_earlier_result(
    call: Call, null_path: Path, null_weights: Path, data: Path
) -> None:
    code, _ = _run(call, null_path, null_weights, data)
    out = data.parent / "out"
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    words = ("run", null_path, "--data", data, "--out", out, "--engine", "null", "--force")
    call(*words, "--weights", data / "no_such.pth").refused("no_such.pth")
    assert code == 0 and {path.name: path.read_bytes() for path in out.iterdir()} == kept


@pytest.mark.parametrize(("words", "code"), [((), 3), (("--max-skipped", "0.02"), 0)])
def test_preprocess_ends_with_three_where_too_many_have_no_tensor(
    call: Call, null_path: Path, data: Path, words: tuple[str, ...], code: int
) -> None:
    for image in _images(data)[:5]:
        image.write_bytes(b"no image")
    out = data.parent / "tensors"
    answer = call("preprocess", null_path, "--data", data, "--out", out, "--on-bad-image", "skip", "--json", *words)
    assert (answer.code, len(answer.json["skipped"])) == (code, 5)


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan"])
def test_no_share_is_refused(call: Call, null_path: Path, data: Path, share: str) -> None:
    call("preprocess", null_path, "--data", data, "--out", data.parent / "t", "--max-skipped", share).refused(
        "--max-skipped", "share"
    )
