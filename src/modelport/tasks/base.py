"""What a task is: the defaults of all, and how one says what is its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from modelport.core.values import Array, LabelForm, Tensors, TensorSpec
from modelport.recipes.draft import Line
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.scoring import Score, Scorer, Ties, Unlabelled

# The share of the source's answers, in percent, below which a precision does not explain what differs, where an answer
# hangs on small differences: boxes at IoU 0.9, nearest neighbours. Chosen, not measured, well below what healthy ports
# keep (decision 11).
TOUCHY_FLOORS: Mapping[str, float] = {"fp32": 90.0, "fp16": 75.0, "bf16": 60.0, "int8": 40.0}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a recipe says of a task, where a model's outputs are all that is known."""

    outputs: Sequence[TensorSpec]  # those that the task reads
    metrics: Sequence[str]
    why: str  # they are this task's
    classes: int | None = None  # of the labels that it needs; None: none are needed, or their number is not told


Table = TypeVar("Table", bound=BaseModel)


def own_table(recipe: Recipe, form: type[Table]) -> Table:
    """Return the table of a recipe that has its task's name; that of all defaults where there is none."""
    found = recipe.tables.get(recipe.task)
    return found if isinstance(found, form) else form()


class Task:
    """How outputs of one kind are judged, and what the road must know of them; these are the defaults.

    A task is one class and one line in ``tasks.table``. It gives ``metrics``, ``scorer`` and what else is its own.
    """

    metrics: tuple[str, ...] = ()
    """Figures that the scorer can give, beside the agreement with the source; a recipe names some of them."""
    recipe_table: type[BaseModel] | None = None
    """The form of the table of a recipe that has the task's name, and that no other takes."""
    needs_table: bool = False
    """Whether a recipe must have it."""
    smallest_set: int = 300
    """Samples below which no verdict is given, where neither paired counts nor resamples tell how sure a figure is."""
    tolerance: Tolerance = Tolerance()
    """What a recipe tolerates that does not tell it."""

    tolerated: float = 1e-4
    """Largest ``difference`` in fp32: sums in another order, as a share of the largest output."""
    difference_means: str = "largest difference over the largest output"
    trial_batch: int = 2
    """Rows on which two forms of one graph are compared."""
    agreement_floors: Mapping[str, float] = TOUCHY_FLOORS
    """By precision, the share of the source's answers, in percent, that what it rounds can explain."""
    one_class: bool = False
    """Whether the best of an output's columns is the answer: the same one for all samples is a collapse."""

    finds_boxes: bool = False
    """Whether answers are boxes: placed in the image, drawn, listed, cut by a score."""
    gives_candidates: bool = False
    """Whether the network gives candidates, of which what follows it suppresses doubles (``export --nms``)."""

    calibration_images: int = 300
    """Most images that int8 ranges are found on: they settle with a few hundred, more only take time."""
    label_form: LabelForm = "class"
    """What the label of a sample is, where the data set has labels."""
    needs_labels: bool = True
    """Whether the figures hold answers against labels."""
    placeholder: Any = None
    """A target for the scorer where only the agreement counts and there are no labels; None where none would do."""
    has_margins: bool = False
    """Whether ``judged`` tells by how much the source's answer leads, and a judged metric is a mean of samples."""
    tuned_batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Batch sizes that ``tune`` tries."""
    sample_fitter: str | None = None
    """What fits a random network to a drawn data set, ``module:function`` of ``stages.sample_weights``; else None."""

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        """Take what the recipe says.

        ``categories`` are the data set's (category id, name) by class index, where it names them; ``seed`` draws what
        is drawn.
        """
        self._recipe = recipe
        self._categories = tuple(categories)
        self._output = recipe.tensors.outputs[0].name

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where a recipe, whose metrics and tables are this task's, is none of this task."""

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Return what to say of a model with these outputs, None where they are not this task's.

        ``alone``: nobody has named the task, and the outputs must tell it by themselves.
        """
        return None

    @classmethod
    def draft_lines(cls, outputs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> Sequence[Line]:
        """Return what a drafted recipe says in this task's own tables; ``metadata`` is what the file tells of itself.

        Raises UsageError where nothing tells it.
        """
        return ()

    @property
    def deciding(self) -> str:
        """The metric that decides first: of those with a published figure the first, else the recipe's first."""
        return judged_metrics(self._recipe)[0]

    def scorer(self, against_source: bool) -> Scorer:
        """Return an empty scorer. Raises DataError where the data set lacks what it needs."""
        raise NotImplementedError

    def unlabelled_scorer(self, against_source: bool) -> Scorer:
        """Return an empty scorer that looks at no label: of what needs none, and of the agreement with the source."""
        inner = self.scorer(against_source)
        return Unlabelled(inner, self.placeholder) if self.needs_labels else inner

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return how a sample was answered, by its line of predictions.jsonl and its target in the data set.

        The target may as well be what this method once made of it.
        """
        return Judged(line.get("target"))

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted | None:
        """Compute the figures anew from a result folder, and without the scorer's code; None where that cannot be done.

        ``lines`` are those of predictions.jsonl, each with its sample's of samples.jsonl. Raises KeyError, TypeError or
        ValueError for lines that are not as they were written.
        """
        return None

    def met(self, line: Mapping[str, Any], sample: Mapping[str, Any]) -> Sequence[tuple[float, int]]:
        """Return what ``Flips`` counted of a sample: (how many answers are the source's, of how many); none if untold.

        ``line`` is the sample's of predictions.jsonl, ``sample`` that of samples.jsonl.
        """
        return [] if sample["agrees"] is None else [(float(sample["agrees"]), 1)]

    def ties(self) -> Ties:
        """Return what counts the rows that a tie decides; none where answers are told apart by more than a number."""
        return Ties()

    def outputs_of(self, raw: Sequence[Array]) -> dict[str, Array]:
        """Return the recipe's outputs for what the network answers, in the network's order."""
        return {tensor.name: array for tensor, array in zip(self._recipe.tensors.outputs, raw, strict=False)}

    def without_low(self, outputs: Tensors, least: float) -> tuple[dict[str, Array], int]:
        """Return a batch's outputs without boxes whose score is below ``least``, and how many; there are none here."""
        return dict(outputs), 0

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return how far a batch of outputs is from the source's, 0 for the same; NaN where one holds NaN."""
        return relative_difference(got[self._output], want[self._output])

    def distance(self, got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
        """Return how far a quantized model's batches are from the source's: relative L2; infinite for NaN."""
        wrong = right = 0.0
        for mine, theirs in zip(got, want, strict=True):
            for name, values in theirs.items():
                # The last batch of these may be cut shorter than the same of all.
                rows = min(len(values), len(mine[name]))
                wide = values[:rows].astype(np.float64)
                wrong += float(np.square(mine[name][:rows] - wide).sum())
                right += float(np.square(wide).sum())
        far = math.sqrt(wrong / right) if right else math.sqrt(wrong)
        return far if math.isfinite(far) else math.inf

    def guide_rows(self, metrics: Mapping[str, Score]) -> list[tuple[str, str]]:
        """Return (key, text) of the figures as the guides' accuracy scripts spell them."""
        return [(name, f"{metrics[name].value:g}") for name in self._recipe.metrics if name in metrics]


def judged_metrics(recipe: Recipe) -> list[str]:
    """Return the metrics that decide: those with a published figure, else the recipe's first."""
    return list(dict.fromkeys(figure.metric for figure in recipe.published)) or list(recipe.metrics[:1])


def relative_difference(got: Array, want: Array) -> float:
    """Return the largest difference as a share of the largest wanted value; infinite for another shape, NaN for NaN."""
    if got.shape != want.shape:
        return float("inf")
    wide = want.astype(np.float32) if want.dtype == np.float16 else want  # differences of float16 overflow
    return float(np.abs(got - wide).max()) / (float(np.abs(wide).max()) or 1.0)
