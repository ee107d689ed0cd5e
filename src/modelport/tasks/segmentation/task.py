"""The task ``segmentation``: a class for every pixel, scored at the image's own size."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.placement import Placement, known
from modelport.core.values import Array, Mask, Tensors, TensorSpec
from modelport.recipes.chain import pixel_shape
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, Task, relative_difference
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.scoring import Figures, Flips, Rows, Scorer
from modelport.tasks.segmentation.confusion import Confusion
from modelport.tasks.segmentation.counted import Counts, Pixelwise, counted, judged, recount
from modelport.tasks.segmentation.pixels import NO_CLASS, InImage, classes_in_image
from modelport.tasks.segmentation.recipe_table import Segmentation as SegmentationTable
from modelport.tasks.segmentation.truth import Labels

# In place of a mask, where there is none.
UNLABELLED = "unlabelled"
# The mean share of a picture's pixels, in percent, below which a precision does not explain what differs: a pixel's
# class is the best of a row of scores, as a classifier's is. Chosen, not measured.
AGREEMENT_FLOORS: Mapping[str, float] = {"fp32": 97.0, "fp16": 90.0, "bf16": 85.0, "int8": 70.0}
# An image is a flip where a smaller share of its pixels has the source's class: edges move by rounding.
ALIKE = 0.99
# A map that nobody has called scores is taken for such: not three channels, which are an image's, nor the hundreds and
# the few places of features.
IMAGE_CHANNELS, MOST_CLASSES, FEWEST_PLACES = 3, 300, 16
# Of a line, what the result lists of a flip.
FLIP_KEYS = ("id", "target", "classes", "miou", "pixel_accuracy")
# Classes of an image that its line lists.
LISTED = 5


class Segmentation(Task):
    """Scores (N, C, h, w), floating, or numbers of classes (N, h, w) or (N, 1, h, w), integers, against masks."""

    metrics = ("miou", "pixel_accuracy")
    recipe_table = SegmentationTable
    label_form = "mask"
    placeholder = UNLABELLED
    agreement_floors = AGREEMENT_FLOORS
    # Each holds thousands of pixels.
    calibration_images = 100
    tuned_batches = (1, 2, 4)
    sample_fitter = "modelport.stages.sample_weights.segmentation:fit_segmenter"

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._numbers = recipe.tensors.outputs[0].dtype.startswith("int")
        if self._numbers:
            self.tolerated = 1e-3
            self.difference_means = "share of the places with another class"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is neither a score for each class and place nor a class for each place."""
        output, classes = recipe.tensors.outputs[0], recipe.dataset.classes
        told = f"the output '{output.name}' is {output.dtype} {tuple(output.shape)}"
        if classes is None:
            raise ValueError("dataset.classes is missing: a pixel has one of so many")
        if output.dtype.startswith(("int", "uint")):
            if len(output.shape) != 3 and (len(output.shape) != 4 or output.shape[1] != 1):
                raise ValueError(f"{told}; numbers of classes are ['batch', h, w] or ['batch', 1, h, w]")
        elif len(output.shape) != 4 or output.shape[1] != classes:
            raise ValueError(f"{told}; scores are ['batch', {classes}, h, w] (dataset.classes is {classes})")
        if any(isinstance(side, str) for side in recipe.tensors.sample.shape[1:]):
            raise ValueError("tensors.inputs: give height and width: answers are placed in the image by them")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take scores for each class and place, where they are the only output, or the task was named."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 4]
        found = [spec for spec in found if isinstance(spec.shape[1], int) and spec.shape[1] >= 2]
        if len(found) != 1 or (alone and (len(outputs) > 1 or not _looks_like_scores(found[0]))):
            return None
        why = f"'{found[0].name}' is a score for each class and place"
        return Draft(found, list(cls.metrics), why, int(found[0].shape[1]))

    def scorer(self, against_source: bool) -> MaskScorer:
        """Return a scorer of the recipe's first output against masks."""
        return MaskScorer(self._recipe, against_source)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return the mask's name, whether nearly all pixels have the source's class, and the image's own mIoU."""
        return judged(line, ALIKE)

    def met(self, line: Mapping[str, Any], sample: Mapping[str, Any]) -> Sequence[tuple[float, int]]:
        """Return the share of the pixels that have the source's class."""
        return [(line["source_same"], 1)] if "source_same" in line else []

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Compute both figures from the pixels of each image by class."""
        return recount((line for line, _ in lines), self._recipe.dataset.classes or 0)

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the largest difference of scores as a share of the largest, or the share of other classes."""
        mine, theirs = got[self._output], want[self._output]
        if not self._numbers:
            return relative_difference(mine, theirs)
        return float(np.mean(mine != theirs)) if mine.shape == theirs.shape else float("inf")

    def distance(self, got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
        """Return the relative L2 distance of scores, or the mean share of other classes."""
        if not self._numbers:
            return super().distance(got, want)
        pairs = zip(got, want, strict=True)
        rows = [(one[self._output], two[self._output]) for one, two in pairs]
        return float(np.mean([np.mean(one[: len(two)] != two[: len(one)]) for one, two in rows]))


def _looks_like_scores(spec: TensorSpec) -> bool:
    channels, *sides = spec.shape[1:]
    fine = all(isinstance(side, int) and side >= FEWEST_PLACES for side in sides)
    return isinstance(channels, int) and channels <= MOST_CLASSES and channels != IMAGE_CHANNELS and fine


class PixelFlips(Flips):
    """Images by the share of their pixels whose class is the source's; keeps those with the lowest."""

    def add(self, met: float, of: int, flip: Mapping[str, Any]) -> None:
        """Count one image; it is a flip where ``met`` is below ``ALIKE``."""
        self.met += met
        self.of += of
        if met < ALIKE:
            self.count += 1
            bisect.insort(self.first, dict(flip) | {"share": met}, key=lambda row: row["share"])
            del self.first[self.LISTED :]


class MaskScorer(Scorer):
    """Maps each answer to its image, one at a time, and counts its pixels; keeps counts alone."""

    def __init__(self, recipe: Recipe, against_source: bool) -> None:
        self._output = recipe.tensors.outputs[0].name
        self._canvas = pixel_shape(recipe.preprocess, recipe.signature.inputs[0])[:2]
        self._labels = Labels.of(recipe)
        # A label's name; of the classes before the first label, there is none.
        before = map(str, range(recipe.dataset.label_offset))
        self._names = (*before, *recipe.dataset.names) if recipe.dataset.names else ()
        classes = recipe.dataset.classes or 0
        self._mine, self._theirs = Confusion(classes), Confusion(classes) if against_source else None
        self._pairs: list[tuple[Counts, Counts]] = []
        self._flips = PixelFlips()
        self._seen = self._shown = 0  # pixels of the images, and of these what the network was shown
        self._ignored = 0
        self._unlabelled = False

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some images and return a line for each. Raises DataError for a mask that does not fit."""
        return [self._line(rows, index) for index in range(len(rows.ids))]

    def figures(self) -> Figures:
        """Return both figures, and the source's on the same images. Raises DataError where no pixel was counted."""
        if self._unlabelled:
            return Figures({}, None if self._theirs is None else {}, self._flips, self._notes())
        if not self._mine.pixels:
            raise DataError(
                f"no pixel was scored: every one has the value {self._labels.ignored}, which is not counted",
                "check the masks, and ignore_index in [segmentation] of the recipe",
            )
        whole = self._theirs is not None and self._theirs.images == self._mine.images
        source = None if self._theirs is None else self._theirs.scores() if whole else {}
        found = Figures(self._mine.scores(), source, self._flips, self._notes(), {"miou": self._mine.chance()})
        if self._pairs:
            found.resampled = Pixelwise(self._pairs, len(self._mine.counts))
        found.per_class = self._mine.per_class(self._names, self._theirs if source else None)
        return found

    def _line(self, rows: Rows, index: int) -> dict[str, Any]:
        """Score one image."""
        placement, target = known(rows.placements[index]), rows.targets[index]
        mine = self._in_image(rows.outputs, index, placement)
        theirs = None if rows.source is None else self._in_image(rows.source, index, placement)
        line: dict[str, Any] = {"id": str(rows.ids[index]), "target": None, "classes": _shares(mine.classes)}
        self._seen += placement.image_height * placement.image_width
        self._shown += mine.classes.size
        if target == UNLABELLED:
            self._unlabelled = True
        else:
            line |= {"target": target.path.name, **self._count(target, placement, mine, theirs)}
        if theirs is not None:
            same = (mine.classes == theirs.classes) & (theirs.classes != NO_CLASS)
            share = float(same.mean()) if same.size else 1.0
            told = f"{100 * share:.2f} % of its pixels"
            kept = {name: line[name] for name in FLIP_KEYS if name in line}
            self._flips.add(share, 1, {**kept, "source": "every pixel", "engine": told})
            line["source_same"] = share
        return line

    def _count(self, mask: Mask, placement: Placement, mine: InImage, theirs: InImage | None) -> dict[str, Any]:
        """Count the pixels that are shown and not ignored; return the image's own figures and counts of both sides."""
        truth = mine.cut(self._labels.read(mask, placement))
        kept = truth != NO_CLASS
        self._ignored += int(truth.size - kept.sum())
        alone = self._mine.add(truth[kept], mine.classes[kept])
        told, counts = _told("", alone)
        if self._theirs is not None and theirs is not None:
            more, others = _told("source_", self._theirs.add(truth[kept], theirs.classes[kept]))
            self._pairs.append((counts, others))
            told |= more
        return told

    def _in_image(self, outputs: Tensors, index: int, placement: Placement) -> InImage:
        answer: Array = outputs[self._output][index]
        if answer.dtype.kind in "iu" and answer.ndim == 3:
            answer = answer[0]
        return classes_in_image(answer, placement, self._canvas)

    def _notes(self) -> list[str]:
        notes = []
        if self._shown < self._seen:
            lost = 100.0 * (1 - self._shown / self._seen)
            notes.append(f"{lost:.3g} % of the images' pixels are cut off by the steps; they are not counted")
        if self._ignored:
            share = 100.0 * self._ignored / (self._ignored + self._mine.pixels)
            notes.append(f"{share:.3g} % of the pixels are not counted, their masks say {self._labels.ignored}")
        if none := int(self._mine.counts[:, -1].sum()):
            notes.append(f"{none} pixels got no class (NaN, or a number that is no class); each counts as wrong")
        truth = self._mine.counts.sum(axis=1)
        if np.count_nonzero(truth) == 1 and len(truth) > 1:
            also = f"; {self._labels.ignored} is not counted: is it a class?" if self._ignored else ""
            notes.append(f"the masks know class {int(truth.argmax())} alone; do they hold classes, or shades?{also}")
        return notes


def _told(side: str, alone: Confusion) -> tuple[dict[str, Any], Counts]:
    """Return what a line tells of one side's answer to one image, and the counts in it."""
    counts = counted(alone)
    miou, accuracy = (100.0 * alone.miou(), 100.0 * alone.accuracy()) if alone.pixels else (None, None)
    told = {"miou": miou, "pixel_accuracy": accuracy, "pixels": counts.tolist()}
    return {f"{side}{name}": value for name, value in told.items()}, counts


def _shares(classes: Array) -> list[list[float]]:
    """Return [class, percent of the pixels] of the most frequent classes."""
    values, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LISTED]
    return [[int(values[place]), 100.0 * float(counts[place]) / classes.size] for place in order]
