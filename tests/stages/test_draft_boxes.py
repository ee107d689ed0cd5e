"""What a drafted recipe says of a detector's classes and data."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_detector import NAMES, draw_squares
from modelport.recipes.draft import Line
from modelport.stages.draft_data import data_lines
from modelport.tasks.detection.task import Detection


def told(folder: Path | None, classes: int | None, names: tuple[str, ...] = ()) -> dict[str, Line]:
    return {line.key: line for line in data_lines(folder, Detection, classes, names)}


@pytest.mark.parametrize(("names", "classes", "guessed"), [(("a", "b"), 2, False), ((), 80, True)])
def test_classes_that_the_outputs_do_not_tell(names: tuple[str, ...], classes: int, guessed: bool) -> None:
    lines = told(None, None, names)
    assert (lines["dataset.classes"].value, lines["dataset.classes"].guessed) == (classes, guessed)
    assert lines["dataset.kind"].value == "coco" and lines["dataset.kind"].guessed
    assert ("dataset.names" in lines) == bool(names)


def test_a_folder_that_the_model_does_not_fit_is_said(tmp_path: Path) -> None:
    draw_squares(tmp_path, "val", 2, 0)
    assert told(tmp_path, 3)["dataset.kind"].value == "yolo"
    assert told(tmp_path, 3, NAMES)["dataset.names"].value == list(NAMES)
    other = told(tmp_path, 5)["dataset.kind"]
    assert other.value == "images" and other.guessed
    assert "3 categories, the model knows 5 classes" in other.why
