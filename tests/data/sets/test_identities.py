"""Identities: folders of any names, lines of a file and cells of a table are numbered as they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.core.errors import DataError
from modelport.data.sets.base import Wanted
from modelport.data.sets.table import kind_of

WANTED = Wanted("identity")


def _images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_may_have_any_names(tmp_path: Path) -> None:
    """As classes these would be refused: nothing tells which of the two orders is the model's."""
    _images(tmp_path / "val", "one/1.png", "two/1.png", "ten/1.png", "007/1.png", "one/2.png")
    found = kind_of("imagenet").open(tmp_path, WANTED, "val")
    targets = {sample.id: sample.target for sample in found}
    assert targets == {"007/1": 0, "one/1": 1, "one/2": 1, "ten/1": 2, "two/1": 3} and not found.notes
    with pytest.raises(DataError):
        kind_of("imagenet").open(tmp_path, Wanted("class", 4), "val")


def test_lines_and_cells_may_hold_any_names(tmp_path: Path) -> None:
    _images(tmp_path, "val/a.png", "val/b.png", "val/c.png")
    (tmp_path / "val_label.txt").write_text("a.png anna\nb.png 17\nc.png anna\n")
    found = kind_of("imagenet").open(tmp_path, WANTED, "val")
    assert [sample.target for sample in found] == [0, 1, 0]
    (tmp_path / "val.csv").write_text('path,label\nval/a.png,"Doe, Jane"\nval/b.png,17\nval/c.png," Doe, Jane "\n')
    table = kind_of("table")
    assert [sample.target for sample in table.open(tmp_path, WANTED, "val")] == [0, 1, 0]
    (tmp_path / "val.csv").write_text("path,label\nval/a.png,x\nval/b.png,x\n")
    assert "all 2 images have the label 0" in table.open(tmp_path, WANTED, "val").notes[1]
    (tmp_path / "val.csv").write_text("path,label\nval/a.png,x\nval/b.png,\n")
    with pytest.raises(DataError, match=r"val.csv line 3: '' names nobody"):
        table.open(tmp_path, WANTED, "val")
