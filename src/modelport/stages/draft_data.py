"""Which kind of data set a folder is laid out as, and what a recipe says of it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, UsageError
from modelport.core.text import plain
from modelport.core.values import DataSet
from modelport.data.sets.arrays import Arrays
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_folders import GUESS
from modelport.data.sets.table import KINDS, kind_of
from modelport.recipes.draft import Line
from modelport.recipes.presets import expanded
from modelport.tasks.base import Task
from modelport.tasks.table import COUNTED

# The kind that is meant most often, by what labels are; else the first that has such labels.
USUAL = {
    "class": "imagenet",
    "identity": "imagenet",
    "mask": "masks",
    "boxes": "coco",
    "outlines": "coco",
    "keypoints": "coco",
}
COCO_CLASSES = 80
# A thousand names are under 50 KB; what is longer is no list of them.
MAX_NAMES = 1024 * 1024


def data_lines(folder: Path | None, task: type[Task], classes: int | None, names: Sequence[str]) -> list[Line]:
    """Return the data set's lines: the layout that ``folder`` has, else the usual one of the task.

    ``classes`` is the width of the model's output, ``names`` what the model calls its classes, where it tells.
    """
    width = [] if classes is None else [Line("dataset.classes", classes)]
    if classes is None and USUAL.get(task.label_form) == "coco":
        classes = len(names) or COCO_CLASSES
        why = "as the model's file names them" if names else "the outputs do not tell how many; COCO has 80"
        width = [Line("dataset.classes", classes, why, guessed=not names)]
    told = [Line("dataset.names", list(names), "as the model's file names them")] if len(names) == classes else []
    if folder is None:
        kinds = [name for name in KINDS if task.label_form in kind_of(name).forms]
        kind = USUAL.get(task.label_form, kinds[0] if kinds else "images") if width else "images"
        return [Line("dataset.kind", kind, "no --data was given", guessed=True), *width, *told]
    if task.needs_labels and (classes is not None or task.label_form not in COUNTED):
        wanted = Wanted(task.label_form, classes, tuple(names) if told else ())
        found = _labelled(folder, wanted)
        if not isinstance(found, str):
            return _lines(*found, folder, wanted, [*width, *told])
    else:
        found = ""
    why = f"images without labels: run --predict{'; ' + plain(found, 250) if found else ''}"
    return [Line("dataset.kind", "images", why, guessed=bool(width)), *width, *told]


def steps_for(folder: Path | None, steps: Line) -> Line:
    """Return the steps' line for what ``folder`` holds: pixels in arrays are taken as they are, not decoded."""
    given = expanded(steps.value)
    if folder is None or not Arrays().lies_in(folder) or given[0]["step"] != "decode":
        return steps
    color = given[0]["color"]
    first = {"step": "decode_array", "channels": {"L": 1, "RGBA": 4}.get(color, 3)}
    why = f"{steps.why}; the arrays' channels are taken to be {color}"
    return Line(steps.key, [first, *given[1:]], why, guessed=steps.guessed or color == "BGR")


def names_told(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the classes that Ultralytics' exporter writes down, a dict by number; none for other text."""
    text = metadata.get("names", "")
    try:
        told = ast.literal_eval(text) if len(text) <= MAX_NAMES else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ()
    if not isinstance(told, dict) or list(told) != list(range(len(told))):
        return ()
    names = tuple(told.values())
    # Names that are the same for two classes tell neither.
    sound = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if sound else ()


def _labelled(folder: Path, wanted: Wanted) -> tuple[str, DataSet, bool] | str:
    """Return the kind that can read the folder, its samples, and whether the labels leave the output one class over.

    Where none can, return why: what the kind says that the folder looks like, else the first.
    """
    said = ""
    kinds = [name for name in KINDS if wanted.form in kind_of(name).forms]
    for name in sorted(kinds, key=lambda name: not kind_of(name).lies_in(folder)):
        for over in (0, 1) if wanted.form == "class" and (wanted.classes or 0) > 2 else (0,):
            less = Wanted("class", wanted.known - 1) if over else wanted
            try:
                found = kind_of(name).open(folder, less, "val")
            except (DataError, UsageError, ValueError) as error:
                said = said or (error.found if isinstance(error, DataError | UsageError) else "")
                continue
            labels = {sample.target for sample in found} if wanted.form == "class" else set()
            every = labels == set(range((wanted.classes or 0) - 1))
            if not over or every:
                return name, found, every and not wanted.names and bool(labels)
    return said


def _lines(kind: str, found: DataSet, background: bool, folder: Path, wanted: Wanted, lines: list[Line]) -> list[Line]:
    first = Line("dataset.kind", kind, f"{len(found)} labelled images in {plain(folder, 100)}")
    more: list[Line] = []
    if background:
        why = "one class fewer than scores: the first is background"
        more.append(Line("dataset.label_offset", 1, why, guessed=True))
    if any(GUESS in note for note in found.notes):
        by_label: dict[Any, str] = {sample.target: sample.id.rpartition("/")[0] for sample in found}
        names = [by_label[label] for label in sorted(by_label)]
        why = "the class folders as sorted text; which class of the model each is, nobody told"
        more.append(Line("dataset.names", names, why, guessed=True))
    return [first, *lines, *more]
