"""What the tasks of things with more than corners share: boxes with masks, boxes with keypoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.values import Tensors, TensorSpec
from modelport.recipes.chain import pixel_shape
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.base import Draft, Task, judged_metrics
from modelport.tasks.detection.lines import judged, recount
from modelport.tasks.instances.outputs import Parts
from modelport.tasks.instances.scorer import Judge, ThingScorer, difference, mean_difference
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.scoring import Unlabelled


class ThingTask(Task):
    """A task whose answers are things; a class of it says by ``judge`` what a thing has beside its box."""

    tolerance = Tolerance(value=1.0, unit="percent_of_reference")
    # Equal up to rounding, but for things whose scores or overlaps lie within rounding of each other.
    tolerated = 0.02
    trial_batch = 1
    # Each holds many objects.
    calibration_images = 48
    tuned_batches = (1, 2)

    most: int
    """How many things of an image and class count."""

    def judge(self) -> Judge:
        """Return what knows masks, or keypoints."""
        raise NotImplementedError

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._judge = self.judge()
        self._whole = whole_input(recipe)

    def scorer(self, against_source: bool) -> ThingScorer:
        """Return a scorer. Raises DataError where the data set named no categories."""
        return ThingScorer(self._judge, named(self._categories), against_source, self._deciding())

    def unlabelled_scorer(self, against_source: bool) -> Unlabelled:
        """Return a scorer that counts the source's things that are met."""
        return Unlabelled(ThingScorer(self._judge, None, against_source), None)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return what is annotated, whether the source's things are met, and the image's own average precision."""
        return judged(line, target, self._categories, self.label_form == "keypoints")

    def met(self, line: Mapping[str, Any], sample: Mapping[str, Any]) -> Sequence[tuple[float, int]]:
        """Return how many of the source's things are met."""
        return [tuple(line["source_met"])] if "source_met" in line else []

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Compute COCO's figures from the things and annotations of each image, and their overlaps as they were found.

        Masks and keypoints themselves are in no line.
        """
        return recount(lines, self.metrics, self._deciding(), self.most, self._judge.name)

    def _deciding(self) -> list[str]:
        return [name for name in judged_metrics(self._recipe) if name in self.metrics]

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the share of the source's things that are not met."""
        return difference(self._judge, got, want, self._whole)

    def distance(self, got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
        """Return the mean share of the source's things that are not met."""
        return mean_difference([self.difference(mine, theirs) for mine, theirs in zip(got, want, strict=True)])


def drafted(
    task: type[Task],
    outputs: Sequence[TensorSpec],
    what: str,
    fits: Callable[[tuple[int | str, ...]], bool],
    alone: bool = False,
) -> Draft | None:
    """Return the draft of a task whose outputs are boxes and ``what``, of a shape (N, K, …) that ``fits``."""
    try:
        parts = Parts.of(outputs, what, alone=alone)
    except ValueError:
        return None
    shape = next(spec.shape for spec in outputs if spec.name == parts.shapes)
    why = f"'{parts.boxes}' are boxes and '{parts.shapes}' {what}"
    return Draft(outputs, list(task.metrics), why) if fits(shape) else None


def prefixed(name: str, figures: Iterator[tuple[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    """Yield the precisions of COCO's figures under another name; recalls are no metrics of these tasks."""
    return ((name + figure, value) for figure, value in figures if figure.startswith("mAP"))


def named(categories: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
    """Return the categories. Raises DataError where there are none."""
    if not categories:
        raise DataError("the data set names no categories", "give a data set in the COCO layout")
    return categories


def check_size(recipe: Recipe) -> None:
    """Raise ValueError where the number of classes, or the input's height and width, are not told."""
    if recipe.dataset.classes is None:
        raise ValueError("dataset.classes is missing: a thing has one of so many")
    if any(isinstance(side, str) for side in recipe.tensors.sample.shape[1:]):
        raise ValueError("tensors.inputs: give height and width: answers are placed in the image by them")


def canvas_of(recipe: Recipe) -> tuple[int, int]:
    """Return height and width of the network's input."""
    return pixel_shape(recipe.preprocess, recipe.signature.inputs[0])[:2]


def whole_input(recipe: Recipe) -> Placement:
    """Return the place of an image that is as large as the input."""
    height, width = canvas_of(recipe)
    return Placement(width, height, 1.0, 1.0, 0, 0)
