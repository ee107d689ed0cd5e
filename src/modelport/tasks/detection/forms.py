"""In which form a detector's outputs hold its boxes: told by a recipe, else by names, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelport.core.values import Array, TensorSpec
from modelport.tasks.detection.recipe_table import Boxes

DETS, BOXES, CANDIDATES, YOLOV5, YOLOV8, END_TO_END = "dets", "boxes", "candidates", "yolov5", "yolov8", "end_to_end"
RAW = (CANDIDATES, YOLOV5, YOLOV8)
"""Forms whose doubles nothing has suppressed."""
MEANS = {
    DETS: "boxes with their scores (N, K, 5), and labels (N, K)",
    BOXES: "boxes (N, K, 4), scores (N, K) and labels (N, K)",
    CANDIDATES: "boxes (N, K, 4) and a score for each class (N, K, C)",
    YOLOV5: "(N, K, 5 + C): box, objectness, a score for each class",
    YOLOV8: "(N, 4 + C, K): box, a score for each class",
    END_TO_END: "(N, K, 6): corners, score, class",
}
# An end-to-end detector gives 100 or 300 boxes; anchors are thousands.
MOST_FINAL = 1000
# Cells of strides 8, 16 and 32 in a square of 32 pixels: 16 + 4 + 1, the unit of an anchor-free YOLO's boxes; one with
# anchors has three a cell.
CELLS, ANCHORS = 21, 3
Shape = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """A form, and the names of the outputs that play its parts; ``guessed`` tells which were taken by their order."""

    form: str
    boxes: str
    scores: str = ""
    labels: str = ""
    count: str = ""
    guessed: bool = False

    def class_scores(self, array: Array) -> Array:
        """Return the scores within the output that holds them (N, …), as a view."""
        if self.form == YOLOV5:
            return array[..., 5:]
        if self.form == YOLOV8:
            return array[:, 4:]
        return array[..., 4] if self.form == END_TO_END else array


def outputs_of(specs: Sequence[TensorSpec], classes: int | None, told: Boxes) -> Outputs:
    """Return which form the outputs have. Raises ValueError where they have none, or more than one."""
    shapes = {spec.name: spec.shape for spec in specs}
    if told.count is not None and told.count not in shapes:
        raise ValueError(f"detection.count: there is no output '{told.count}', but {', '.join(shapes)}")
    named = [spec for spec in specs if spec.name != told.count]
    possible = [told.form] if told.form is not None else possible_forms([spec.shape for spec in named], classes)
    listed = "; ".join(f"{spec.name} {tuple(spec.shape)}" for spec in specs)
    if not possible:
        known = "; ".join(f"{form} is {text}" for form, text in MEANS.items())
        width = "" if classes is None else f" of {classes} classes (dataset.classes)"
        raise ValueError(f"the outputs {listed} are no detector's{width}: {known}")
    if len(possible) > 1:
        raise ValueError(f"the outputs {listed} may be {' or '.join(possible)}: tell it by detection.form")
    found = _parts(possible[0], named, told.count or "")
    if found is None:
        raise ValueError(f"the outputs {listed} are not of the form {possible[0]}: {MEANS[possible[0]]}")
    if told.count is not None and found.form != BOXES:
        raise ValueError(f"detection.count goes with the form boxes, the outputs are {found.form}")
    return found


def possible_forms(shapes: Sequence[Shape], classes: int | None) -> list[str]:
    """Return the forms that outputs of these shapes may have, the batch first in each."""
    sizes = sorted((shape[1:] for shape in shapes), key=len, reverse=True)
    ranks = [len(size) for size in sizes]
    if ranks == [2, 1]:
        return [DETS] if sizes[0][1] == 5 else []
    if ranks == [2, 1, 1]:
        return [BOXES] if sizes[0][1] == 4 else []
    if ranks == [2, 2]:
        return [CANDIDATES] if any(size[1] == 4 for size in sizes) else []
    if ranks != [2]:
        return []
    first, last = sizes[0]
    found = []
    if isinstance(last, int) and last > 5 and classes in (None, last - 5):
        found.append(YOLOV5)
    if isinstance(first, int) and first > 4 and classes in (None, first - 4):
        found.append(YOLOV8)
    if last == 6 and not (isinstance(first, int) and first > MOST_FINAL):
        found.append(END_TO_END)
    return found


def likely_form(shapes: Sequence[Shape], sure: bool) -> str | None:
    """Return the form that shapes look like where the number of classes is not known, None for none.

    ``sure``: the task is not known either, so that the anchors must be as many as a YOLO's cells.
    """
    found = possible_forms(shapes, None)
    if len(found) == 1 and found[0] in (DETS, BOXES, CANDIDATES):
        return found[0]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    first, last = shapes[0][1:]
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    if last == 6 and first <= MOST_FINAL:
        return END_TO_END
    if YOLOV8 in found and last > first and not (sure and last % CELLS):
        return YOLOV8
    return YOLOV5 if YOLOV5 in found and first > last and not (sure and first % (ANCHORS * CELLS)) else None


def _parts(form: str, specs: Sequence[TensorSpec], count: str) -> Outputs | None:
    """Return which output plays which part, None where there are others than the form has."""
    by_rank: dict[int, list[TensorSpec]] = {}
    for spec in specs:
        by_rank.setdefault(len(spec.shape), []).append(spec)
    wide, flat = by_rank.get(3, []), by_rank.get(2, [])
    if len(wide) + len(flat) != len(specs):
        return None
    counts = len(wide), len(flat)
    if form == DETS and counts == (1, 1):
        return Outputs(form, wide[0].name, wide[0].name, flat[0].name)
    if form in (YOLOV5, YOLOV8, END_TO_END) and counts == (1, 0):
        return Outputs(form, wide[0].name)
    if form == CANDIDATES and counts == (2, 0):
        fours = [spec for spec in wide if spec.shape[2] == 4]
        order = wide if len(fours) != 1 else sorted(wide, key=lambda spec: spec is not fours[0])
        return Outputs(form, order[0].name, order[1].name, guessed=len(fours) != 1)
    if form == BOXES and counts == (1, 2):
        scores, labels, guessed = _scores_and_labels(flat)
        return Outputs(form, wide[0].name, scores, labels, count, guessed)
    return None


def _scores_and_labels(flat: Sequence[TensorSpec]) -> tuple[str, str, bool]:
    """Return the names of both, and whether only their order tells: labels are integers, or the names say it."""
    whole = [spec for spec in flat if not spec.dtype.startswith("float")]
    if len(whole) == 1:
        return next(spec.name for spec in flat if spec is not whole[0]), whole[0].name, False
    rated = [spec for spec in flat if "score" in spec.name.lower() or "conf" in spec.name.lower()]
    known = [spec for spec in flat if "label" in spec.name.lower() or "class" in spec.name.lower()]
    if len(rated) == 1 and known != rated:
        return rated[0].name, next(spec.name for spec in flat if spec is not rated[0]), False
    if len(known) == 1:
        return next(spec.name for spec in flat if spec is not known[0]), known[0].name, False
    return flat[0].name, flat[1].name, True
