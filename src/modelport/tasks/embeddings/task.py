"""A vector per image: verification, retrieval, and vectors in the source's direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array, TensorSpec
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, Figures, Flips, Rows, Score, Scorer, Task
from modelport.tasks.classification.topk import percent
from modelport.tasks.curves import acceptance
from modelport.tasks.embeddings.pairs import accepted_at, best_accuracy, directions, drawn_pairs, genuine_and_impostor
from modelport.tasks.embeddings.retrieval import chance, queries_of, retrieved
from modelport.tasks.kept import Kept

# A row's vector is the source's where the cosine of the two is at least this. Chosen, not measured: another model's
# has a cosine near 0, rounding to int8 leaves about 0.99.
NEAR = 0.98
FALSE_ACCEPTS = 1e-3


class Embeddings(Task):
    """The task ``embeddings``: one output (N, D), brought to length 1 here, and the identity of each image."""

    metrics = ("verification_accuracy", "tar_at_far_1e-3", "rank1", "retrieval_mAP")
    label_form = "identity"
    placeholder = 0
    sample_fitter = "modelport.stages.sample_weights.embeddings:fit_identities"

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._seed = seed

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is no row of floats, or classes are told, of which there are none."""
        output = recipe.tensors.outputs[0]
        if len(output.shape) != 2 or not output.dtype.startswith("float") or output.shape[1] == 1:
            raise ValueError(
                f"the output '{output.name}' is {output.dtype} {output.shape}, a vector for each image is float "
                "['batch', 2 or more]"
            )
        dataset = recipe.dataset
        if dataset.classes is not None or dataset.names is not None or dataset.label_offset:
            raise ValueError("dataset.classes, names and label_offset have no meaning for identities; take them out")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take a row of numbers for each image; by themselves such outputs are a classifier's."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 2]
        found = [spec for spec in found if spec.shape[1] != 1]
        return None if alone or not found else Draft(found[:1], list(cls.metrics), f"'{found[0].name}' is a vector")

    def scorer(self, against_source: bool) -> VectorScorer:
        """Return a scorer of vectors (N, D) against identities."""
        return VectorScorer(self._output, self._seed, against_source)


class VectorScorer(Scorer):
    """Keeps the vectors of all rows, at most ``tasks.kept.MOST_VALUES``: every pair of images counts.

    Two answers agree where the cosine of the two vectors is at least NEAR.
    """

    def __init__(self, output: str, seed: int, against_source: bool) -> None:
        self._output, self._seed = output, seed
        self._mine, self._theirs = Kept(), Kept() if against_source else None
        self._labels: list[int] = []
        self._flips = Flips()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each: the cosine with the source's vector."""
        labels = [int(label) for label in rows.targets]
        self._labels += labels
        self._mine.take(rows.outputs[self._output])
        near: list[float | None] = [None] * len(labels)
        if self._theirs is not None and rows.source is not None:
            self._theirs.take(rows.source[self._output])
            pair = (directions(side[self._output]) for side in (rows.outputs, rows.source))
            near = [_finite(value) for value in np.einsum("nd,nd->n", *pair).tolist()]
            for name, label, cosine in zip(rows.ids, labels, near, strict=True):
                flip = {"id": str(name), "target": label, "source": 1.0, "engine": cosine}
                self._flips.add(int(cosine is not None and cosine >= NEAR), 1, flip)
        told = zip(rows.ids, labels, near, strict=True)
        return [{"id": str(name), "target": label, "source_cosine": cosine} for name, label, cosine in told]

    def figures(self) -> Figures:
        """Return the figures, and the source's on the same images; none where there are no pairs of both kinds."""
        labels = np.array(self._labels, np.int64)
        source: dict[str, Score] | None = None if self._theirs is None else {}
        queries = queries_of(labels, self._seed)
        identities = len(set(self._labels))
        if not len(queries) or identities < 2:
            found = f"{len(labels)} images of {identities} identities: without pairs of one identity and of two no "
            return Figures({}, source, self._flips, [found + "figure is defined"])
        pairs = drawn_pairs(labels, self._seed)
        metrics = _scores(self._mine.whole(), labels, queries, pairs)
        if self._theirs is not None and len(self._theirs.whole()) == len(labels):
            source = _scores(self._theirs.whole(), labels, queries, pairs)
        rank1, precision = chance(labels, queries)
        guess = {"verification_accuracy": 50.0, "rank1": 100.0 * rank1, "retrieval_mAP": 100.0 * precision}
        return Figures(metrics, source, self._flips, self._notes(labels, queries, pairs), guess)

    def _notes(self, labels: Array, queries: Array, pairs: tuple[Array, Array] | None) -> list[str]:
        _, counts = np.unique(labels, return_counts=True)
        notes = []
        if alone := int((counts == 1).sum()):
            notes.append(f"{alone} identities have one image: it is no query, and stays among the others' candidates")
        if len(queries) < len(labels) - alone:
            notes.append(f"{len(queries)} queries of {len(labels) - alone}, drawn with seed {self._seed}")
        if pairs is not None:
            counted = f"{pairs[0].shape[1]} pairs of one identity and {pairs[1].shape[1]} of two"
            notes.append(f"verification over {counted}, drawn with seed {self._seed}")
        return notes


def _scores(rows: Array, labels: Array, queries: Array, pairs: tuple[Array, Array] | None) -> dict[str, Score]:
    units = directions(rows)
    rates = acceptance(*genuine_and_impostor(units, labels, pairs))
    first, precision = retrieved(units, labels, queries)
    verified = {
        "verification_accuracy": best_accuracy(*rates),
        "tar_at_far_1e-3": accepted_at(*rates, FALSE_ACCEPTS),
    }
    # Pairs share images, so that no simple formula tells the error of a figure of pairs.
    found = {name: Score(100.0 * value, "percent", len(labels), None) for name, value in verified.items()}
    return found | {"rank1": percent(int(first.sum()), len(queries)), "retrieval_mAP": _mean(100.0 * precision)}


def _mean(values: NDArray[np.float64]) -> Score:
    n = len(values)
    return Score(float(values.mean()), "percent", n, float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
