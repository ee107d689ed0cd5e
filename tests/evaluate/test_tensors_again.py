"""Tensors that are not what the recipe makes of their images are named before their answers are scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.data.files.tensor_index import read_index
from modelport.data.sets.table import open_dataset
from modelport.evaluate.tensors_again import hold_rows
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

pytest_plugins = "step_data"
Call = Callable[..., Any]
Write = Callable[..., Path]


@pytest.fixture
def tensors(call: Call, tiny_path: Path, flat: Path, tmp_path: Path) -> Write:
    def write(*words: object) -> Path:
        assert call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t", *words).code == 0
        return tmp_path / "t"

    return write


def held(folder: Path, tiny: Recipe, flat: Path) -> list[str]:
    return hold_rows(read_index(folder), tiny, list(open_dataset(tiny, flat)))


def change(folder: Path, by: Callable[[Array], Array], dtype: str = "float32") -> None:
    for file in folder.glob("*.bin"):
        file.write_bytes(np.ascontiguousarray(by(np.fromfile(file, dtype))).tobytes())


@pytest.mark.parametrize("words", [(), ("--format", "npy"), ("--input-type", "uint8"), ("--batch-size", 4)])
def test_tensors_as_they_were_written_are_held(
    tensors: Write, tiny: Recipe, flat: Path, words: tuple[object, ...]
) -> None:
    assert held(tensors(*words), tiny, flat) == []


def test_rounding_of_another_machine_is_no_other_row(tensors: Write, tiny: Recipe, flat: Path) -> None:
    folder, rng = tensors(), np.random.default_rng(0)
    change(folder, lambda row: (row + rng.normal(0, 0.01, row.shape)).astype(np.float32))
    assert held(folder, tiny, flat) == []


@pytest.mark.parametrize(
    ("by", "named"),
    [
        (lambda row: row.reshape(3, 32, 32).transpose(1, 2, 0), "its row in the layout NHWC, not NCHW"),
        (lambda row: row.reshape(3, 32, 32)[::-1], "channels in reverse order"),
        (lambda row: row.astype(">f4"), "its row in big-endian values"),
        (lambda row: np.resize(row.astype(np.float16), 2 * row.size), "its row in float16 values"),
        (lambda row: row.astype(np.float64)[: row.size // 2], "its row in float64 values"),
        (lambda row: np.zeros_like(row), "is not what tiny makes of the image"),
        (lambda row: row * 58 + 120, "is not what tiny makes of the image"),
    ],
    ids=["layout", "channels", "byte order", "float16", "float64", "zeros", "not normalised"],
)
def test_rows_of_another_form_are_named(
    tensors: Write, tiny: Recipe, flat: Path, by: Callable[[Array], Array], named: str
) -> None:
    folder = tensors()
    change(folder, by)
    with pytest.raises(DataError) as caught:
        held(folder, tiny, flat)
    assert named in caught.value.found


def test_a_row_of_an_odd_number_of_bytes_is_named(call: Call, tiny_path: Path, flat: Path, tmp_path: Path) -> None:
    """3 × 33 × 33 float32 values are no whole number of float64, as many bytes no whole number of float16."""
    recipe = tmp_path / "odd.toml"
    recipe.write_text(tiny_path.read_text().replace("32, 32]", "33, 33]").replace("= 32", "= 33"))
    for kind in ("float32", "uint8"):
        out = tmp_path / kind
        assert call("preprocess", recipe, "--data", flat, "--out", out, "--input-type", kind).code == 0
        change(out, np.zeros_like, kind)
        with pytest.raises(DataError, match="is not what tiny makes of the image"):
            held(out, load_recipe(str(recipe)), flat)


@pytest.mark.parametrize(
    "by",
    [
        lambda row: row.astype(np.float16),
        lambda row: row.astype(">f4"),
        lambda row: row * 1j,
        lambda row: row.astype("U8"),
        lambda row: np.concatenate([row, row]),
        lambda row: row.ravel()[0],
        lambda row: row.ravel(),
    ],
    ids=["float16", "byte order", "complex", "text", "two rows", "one number", "flat"],
)
def test_npy_files_of_another_form_are_named(
    tensors: Write, tiny: Recipe, flat: Path, by: Callable[[Array], Array]
) -> None:
    folder = tensors("--format", "npy")
    for file in folder.glob("*.npy"):
        np.save(file, by(np.load(file)))
    with pytest.raises(DataError, match=r"npy: holds .*, index.json tells 1 rows, float32 NCHW \(3, 32, 32\)"):
        held(folder, tiny, flat)


def test_npy_files_of_another_layout_are_named(tensors: Write, tiny: Recipe, flat: Path) -> None:
    folder = tensors("--format", "npy")
    for file in folder.glob("*.npy"):
        np.save(file, np.load(file).transpose(0, 2, 3, 1))
    with pytest.raises(DataError, match="its row in the layout NHWC, not NCHW"):
        held(folder, tiny, flat)


def test_an_index_whose_file_has_no_row_is_refused(tensors: Write) -> None:
    place = tensors() / "index.json"
    told = json.loads(place.read_text())
    told["files"][0] |= {"ids": [], "sha256": []}
    place.write_text(json.dumps(told))
    with pytest.raises(DataError, match="without a row"):
        read_index(place)


def test_pixels_of_another_layout_are_named(tensors: Write, tiny: Recipe, flat: Path) -> None:
    folder = tensors("--input-type", "uint8")
    change(folder, lambda row: row.reshape(-1, 3).T, "uint8")
    with pytest.raises(DataError, match="its row in the layout NCHW, not NHWC"):
        held(folder, tiny, flat)


@pytest.mark.parametrize("order", ["shuffled", "reversed"])
def test_rows_under_other_names_are_named(tensors: Write, tiny: Recipe, flat: Path, order: str) -> None:
    folder = tensors()
    files = sorted(folder.glob("*.bin"))
    contents = [file.read_bytes() for file in files]
    contents = contents[3:] + contents[:3] if order == "shuffled" else contents[::-1]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"holds the row of ILSVRC2012_val_.* names and rows were shuffled"):
        held(folder, tiny, flat)


def test_names_sorted_as_text_are_told_from_a_shuffle(tensors: Write, tiny: Recipe, flat: Path, tmp_path: Path) -> None:
    """Files 1 to 11, written by number under the names as text sorts them."""
    renamed = tmp_path / "numbered"
    (renamed / "val").mkdir(parents=True)
    lines = []
    for number, line in enumerate((flat / "val_label.txt").read_text().splitlines(), 1):
        name, label = line.split()
        shutil.copy(flat / "val" / name, renamed / "val" / f"im{number}.JPEG")
        lines.append(f"im{number}.JPEG {label}\n")
    (renamed / "val_label.txt").write_text("".join(lines))
    folder = tensors("--data", renamed)
    by_text = sorted(folder.glob("*.bin"))
    contents = [file.read_bytes() for file in sorted(by_text, key=lambda file: int(file.stem[2:]))]
    for file, content in zip(by_text, contents, strict=True):
        file.write_bytes(content)
    with pytest.raises(DataError, match="sorted as text and their rows by number"):
        held(folder, tiny, renamed)


def test_evaluate_refuses_what_was_inferred_from_other_rows(
    call: Call, tensors: Write, tiny_path: Path, flat: Path, tmp_path: Path
) -> None:
    folder = tensors()
    for name in json.loads((folder / "index.json").read_text())["files"]:
        (tmp_path / "r").mkdir(exist_ok=True)
        np.zeros((1, 10), np.float32).tofile(tmp_path / "r" / name["file"].replace(".bin", "_0.bin"))
    words = ("evaluate", tiny_path, "--results", tmp_path / "r", "--data", flat, "--tensors", folder)
    assert call(*words).code == 3
    change(folder, lambda row: row.reshape(3, 32, 32)[::-1])
    call(*words).refused("BGR", "write the tensors again")
