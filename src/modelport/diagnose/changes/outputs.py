"""Changes of how outputs are read: what a box's numbers are, where boxes lie, which class is which, softmax twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel

from modelport.core.placement import Placement
from modelport.core.values import Array, Tensors
from modelport.diagnose.changes.base import Change
from modelport.diagnose.scores import once_softmaxed
from modelport.recipes.schema import Recipe
from modelport.tasks.base import own_table
from modelport.tasks.detection.decode import Decoder, corners_of, usual_spelling
from modelport.tasks.detection.forms import BOXES, DETS, END_TO_END, YOLOV5, YOLOV8, Outputs
from modelport.tasks.detection.recipe_table import Boxes
from modelport.tasks.multilabel.figures import probabilities
from modelport.tasks.multilabel.recipe_table import Threshold
from modelport.tasks.table import task_class

SOFTMAX = "softmax"
# Probabilities below it are taken for it, before their logarithm.
LEAST = 1e-12
MEANING = {
    "xyxy": "corners, x before y",
    "yxyx": "corners, y before x",
    "cxcywh": "middle and sizes",
    "xywh": "a corner and sizes",
}
SPELLINGS = tuple(MEANING)


def output_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield other readings of the outputs of the recipe's task; none of a task whose outputs have one reading.

    What can be read otherwise is what the task's table spells out, or the scores of which the best is the answer.
    """
    task = task_class(recipe.task)
    if task.recipe_table is Boxes:
        yield from _box_changes(recipe)
    elif task.recipe_table is Threshold:
        yield from _activations(recipe)
    elif task.one_class and recipe.tensors.outputs[0].dtype.startswith("float"):
        name = recipe.tensors.outputs[0].name
        told, mend = "the model's softmax is applied twice", "take one softmax out of the model or of what follows it"
        yield Change(SOFTMAX, "once", told, outputs=partial(_mapped, name, _once), mend=mend)


def _once(scores: Array) -> Array:
    found: Array = np.maximum(once_softmaxed(scores.astype(np.float64)), 0.0).astype(scores.dtype)
    return found


def _mapped(name: str, of: Callable[[Array], Array], outputs: Tensors) -> Tensors:
    return {**outputs, name: of(outputs[name])}


def with_table(recipe: Recipe, table: BaseModel, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some keys of its task's own table changed."""
    changed = table.model_copy(update=dict(changes))
    return recipe.model_copy(update={"tables": {**recipe.tables, recipe.task: changed}})


def _activations(recipe: Recipe) -> Iterator[Change]:
    table = recipe.tables.get(recipe.task)
    if not isinstance(table, Threshold):
        return
    for name in get_args(Threshold.model_fields["activation"].annotation):
        told = "the outputs are probabilities already" if name == "none" else "the outputs are logits"
        yield Change("activation", name, told, recipe=partial(_table, table, {"activation": name}))


def _table(table: BaseModel, changes: Mapping[str, Any], recipe: Recipe) -> Recipe | None:
    return with_table(recipe, table, changes)


def _box_changes(recipe: Recipe) -> Iterator[Change]:
    decoder = Decoder(recipe)
    table, form = own_table(recipe, Boxes), decoder.outputs
    if form.form == END_TO_END:
        for name in SPELLINGS[1:]:
            told = f"a box is {MEANING[name]} ({name})"
            mend = "mend the model's boxes: the form end_to_end has corners, x before y"
            yield Change("boxes", name, told, outputs=partial(_mapped, form.boxes, partial(_corners, name)), mend=mend)
    else:
        usual = usual_spelling(form.form)
        for name in SPELLINGS:
            if name == decoder.spelling:
                continue
            told = f"a box is {MEANING[name]} ({name}), where it is read as {MEANING[decoder.spelling]}"
            yield Change("boxes", name, told, recipe=partial(_table, table, {"boxes": None if name == usual else name}))
    shares = not table.normalised
    told = f"boxes are {'shares of the input' if shares else 'in pixels of the input'}"
    changed = {"normalised": shares or None}
    yield Change("normalised", str(shares).lower(), told, recipe=partial(_table, table, changed))
    told = "boxes lie in pixels of the image already: the model maps them back, or they were mapped twice"
    mend = "give boxes in pixels of the network's input, or do not map them back"
    yield Change("mapped_back", "by the model", told, placement=_unmoved, mend=mend)
    if recipe.dataset.label_offset == 0:
        told = "the model's classes lie one before the data set's"
        mend = "add 1 to the model's classes"
        moved = partial(_shifted, form, recipe.dataset.classes or 0)
        yield Change("label_offset", "-1", told, outputs=moved, mend=mend)
    if form.form != DETS:
        told = "the scores are logits: a sigmoid is missing"
        yield Change("sigmoid", "applied", told, outputs=partial(_rated, form, _sigmoid), mend="add the sigmoid")
        told, mend = "a sigmoid is applied twice to the scores", "take one of the two out"
        yield Change("sigmoid", "once", told, outputs=partial(_rated, form, _logit), mend=mend)


def _unmoved(placement: Placement) -> Placement:
    return Placement(placement.image_width, placement.image_height, 1.0, 1.0, 0, 0)


def _corners(spelling: str, dets: Array) -> Array:
    """Return end-to-end rows (N, K, 6) with boxes of another spelling as corners."""
    return np.concatenate([corners_of(spelling, dets[..., :4]), dets[..., 4:]], axis=-1)


def _shifted(form: Outputs, classes: int, outputs: Tensors) -> Tensors:
    """Return the outputs with every class one higher; what has no such class is none."""
    if form.form in (DETS, BOXES):
        labels = outputs[form.labels]
        moved = np.where((labels >= 0) & (labels < classes - 1), labels + 1, -1).astype(labels.dtype)
        return {**outputs, form.labels: moved}
    array = outputs[form.scores or form.boxes].copy()
    if form.form == END_TO_END:
        array[..., 5] = np.where(array[..., 5] < classes - 1.5, array[..., 5] + 1, -1)
        return {**outputs, form.boxes: array}
    scores, axis = form.class_scores(array), 1 if form.form == YOLOV8 else 2
    scores[...] = np.roll(scores, 1, axis=axis)
    first: list[slice | int] = [slice(None)] * 3
    first[axis] = 0
    scores[tuple(first)] = 0
    return {**outputs, form.scores or form.boxes: array}


def _rated(form: Outputs, of: Callable[[Array], Array], outputs: Tensors) -> Tensors:
    """Return the outputs with their scores mapped, and a YOLOv5's objectness."""
    name = form.scores or form.boxes
    array = outputs[name].copy()
    scores = form.class_scores(array)
    scores[...] = of(scores)
    if form.form == YOLOV5:
        array[..., 4] = of(array[..., 4])
    return {**outputs, name: array}


def _sigmoid(values: Array) -> Array:
    return probabilities(values, "sigmoid").astype(values.dtype)


def _logit(values: Array) -> Array:
    wide = np.clip(values.astype(np.float64), LEAST, 1 - LEAST)
    found: Array = np.clip(np.log(wide) - np.log1p(-wide), 0, 1).astype(values.dtype)
    return found
