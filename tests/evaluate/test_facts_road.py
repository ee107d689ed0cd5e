"""Facts of samples go the whole road: from the table and the images to samples.jsonl, the result and its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import modelport as mp
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe


@pytest.fixture(scope="module")
def recipe(null_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    text = null_path.read_text(encoding="utf-8")
    assert 'kind = "imagenet"' in text
    out = tmp_path_factory.mktemp("table") / "table.toml"
    out.write_text(text.replace('kind = "imagenet"', 'kind = "table"'), encoding="utf-8")
    return load_recipe(str(out))


@pytest.fixture(scope="module")
def data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn images with a table: every second one is of the site "b"."""
    folder = tmp_path_factory.mktemp("table-set")
    shutil.copytree(tiny_data / "val", folder / "images")
    rows = [line.split() for line in (tiny_data / "val_label.txt").read_text().splitlines()]
    lines = [f"{name},{label},{'ab'[row % 2]}\n" for row, (name, label) in enumerate(rows)]
    (folder / "labels.csv").write_text(f"path,label,site\n{''.join(lines)}")
    return folder


@pytest.mark.slow
def test_a_class_that_loses_is_told_and_samples_keep_their_facts(
    recipe: Recipe, data: Path, null_weights: Path, tmp_path: Path
) -> None:
    name = recipe.tensors.outputs[0].name
    weights = np.load(null_weights)[name].copy()
    weights[:, 9] = weights[:, :9].mean(axis=1)  # never the best
    np.savez(tmp_path / "worse.npz", allow_pickle=False, **{name: weights})
    samples = mp.open_dataset(recipe, data)
    right, worse = (mp.answer(mp.source(recipe, file), samples) for file in (null_weights, tmp_path / "worse.npz"))
    result = mp.judge(recipe, worse, right, out=tmp_path / "out")
    (told,) = result.further["slices"]
    assert (told["slice"], told["value"], told["engine"]) == ("class", 9, 0.0) and told["source"] > 40
    assert told["of_looked_at"] == result.further["slices_looked_at"] > 10 + 2
    assert any("top1 suffers most in class 9" in note for note in result.notes)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Who suffers" in report and "| class | 9 | 31 |" in report
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert {line["facts"]["columns"]["site"] for line in lines} == {"a", "b"}
    assert all(line["facts"]["width"] > 30 and 0 < line["facts"]["brightness"] < 255 for line in lines)
    healthy = mp.judge(recipe, right, right)
    assert healthy.further["slices"] == [] and healthy.further["slices_looked_at"] == told["of_looked_at"]
