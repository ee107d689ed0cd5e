"""One set of images gives one set of figures, whichever layout holds its labels; classes are told by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Call

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DECODE = 'step = "decode"\ncolor = "RGB"\nexif_rotation = "ignore"\n'
COUNT = 40


@pytest.fixture(scope="module")
def images() -> list[tuple[str, int, Any]]:
    """Name, label and pixels, uint8 (40, 40, 3)."""
    rng = np.random.default_rng(8)
    coarse = rng.integers(0, 256, (COUNT, 5, 5, 3), np.uint8)
    labels = rng.integers(0, 10, COUNT).tolist()
    pixels = coarse.repeat(8, 1).repeat(8, 2)
    return [(f"im {place:02}", label, rows) for place, (label, rows) in enumerate(zip(labels, pixels, strict=True))]


@pytest.fixture
def run(call: Call, null_path: Path, null_weights: Path, tmp_path: Path) -> Callable[..., Any]:
    names = ", ".join(f'"{word}"' for word in WORDS)

    def answered(*words: object, kind: str = "imagenet") -> Any:
        text = null_path.read_text(encoding="utf-8").replace("[dataset]\n", f"[dataset]\nnames = [{names}]\n")
        text = text.replace('kind = "imagenet"', f'kind = "{kind}"')
        if kind == "arrays":
            assert DECODE in text
            text = text.replace(DECODE, 'step = "decode_array"\nchannels = 3\n')
        (tmp_path / "named.toml").write_text(text, encoding="utf-8")
        given = ("run", tmp_path / "named.toml", "--weights", null_weights, "--engine", "null", "--force")
        return call(*given, "--out", tmp_path / "out", "--json", *words)

    return answered


def _saved(images: list[tuple[str, int, Any]], folder: Path, where: Callable[[str, int], str]) -> Path:
    for name, label, rows in images:
        path = folder / where(name, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rows).save(path)
    return folder


def _table(images: list[tuple[str, int, Any]], folder: Path) -> Path:
    _saved(images, folder, lambda name, label: f"images/{name}.png")
    rows = "".join(f"{name},{WORDS[label]}\n" for name, label, _ in images)
    (folder / "labels.csv").write_text("file,label\n" + rows)
    return folder


def _same(got: dict[str, Any]) -> Any:
    first = next(iter(got.values())).json
    for name, answer in got.items():
        assert answer.code in (0, 3), (name, answer.err)
        for key in ("metrics", "per_class", "confusions"):
            assert answer.json[key] == first[key], name
    return first


def test_every_layout_of_files_gives_the_same_figures(
    run: Callable[..., Any], images: list[tuple[str, int, Any]], tmp_path: Path
) -> None:
    flat = _table(images, tmp_path / "flat")
    rows = "".join(f"{name}.png\t{label}\n" for name, label, _ in images)
    (tmp_path / "other.tsv").write_text("path\tclass\n" + rows)
    folders = _saved(images, tmp_path / "folders", lambda name, label: f"val/{WORDS[label]}/{name}.png")
    tiff = _saved(images, tmp_path / "tiff", lambda name, label: f"{WORDS[label].title()}/{name}.tif")
    found = _same(
        {
            "csv": run("--data", flat, kind="table"),
            "tsv": run("--images", flat / "images", "--labels", tmp_path / "other.tsv"),
            "folders": run("--data", folders),
            "tiff": run("--data", tiff),
        }
    )
    assert {row["name"]: row["n"] for row in found["per_class"]} == Counter(WORDS[label] for _, label, _ in images)
    assert "## Worst classes" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_arrays_give_the_same_figures(
    run: Callable[..., Any], images: list[tuple[str, int, Any]], tmp_path: Path
) -> None:
    pixels, labels = [rows for *_, rows in images], [label for _, label, _ in images]
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "y.npy", labels)
    np.savez(tmp_path / "set.npz", images=pixels, labels=labels)
    _same(
        {
            "csv": run("--data", _table(images, tmp_path / "flat"), kind="table"),
            "archive": run("--data", tmp_path / "set.npz", kind="arrays"),
            "mapped": run("--images", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", kind="arrays"),
        }
    )


def test_folders_of_number_words_are_refused_without_names(
    call: Call, null_path: Path, null_weights: Path, images: list[tuple[str, int, Any]], tmp_path: Path
) -> None:
    """Sorted as text they scored 10 % without a word."""
    data = _saved(images, tmp_path / "data", lambda name, label: f"val/{WORDS[label]}/{name}.png")
    answer = call(
        "run", null_path, "--weights", null_weights, "--engine", "null", "--data", data, "--out", tmp_path / "o"
    )
    answer.refused("eight", "dataset.names", str(data / "val"))
