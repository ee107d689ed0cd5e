"""What a result leaves open: said beside every verdict, as plainly as the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelport.core.text import listed
from modelport.model.weights.fetch import HASH_IN_NAME
from modelport.recipes.schema import Recipe
from modelport.report.result import Result
from modelport.verdict.words import INCOMPLETE, INCONCLUSIVE

# Doubtful checks that are named; more are counted.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Open:
    """One thing that was not proved: ``what``, the same words for all results, and why in this one."""

    what: str
    why: str
    key: str  # of the result file


def unproved(result: Result, recipe: Recipe | None) -> list[Open]:
    """Return what the result does not prove. ``recipe``: as it ran, where the folder holds it."""
    return [*_labels(result), *_unsettled(result), *_published(result, recipe), *_model(result, recipe), *_left(result)]


def _labels(result: Result) -> Iterator[Open]:
    if "labels" in result.dataset:
        yield Open("accuracy", "labels were not looked at", "dataset.labels")


def _unsettled(result: Result) -> Iterator[Open]:
    for word in (INCONCLUSIVE, INCOMPLETE):
        found = [(index, check) for index, check in enumerate(result.checks) if check.verdict == word]
        if found:
            names = listed((check.name for _, check in found), NAMED)
            yield Open("checks that settle nothing", f"{word}: {names}", f"checks.{found[0][0]}.verdict")


def _published(result: Result, recipe: Recipe | None) -> Iterator[Open]:
    if any(figure["applies"] for figure in result.published):
        return
    whole = recipe.dataset.published_n if recipe is not None else None
    why = "these are not the samples, or not the way, of the published figure"
    if not result.published:
        why = "no figure is published"
    elif whole is not None and whole != result.n:
        why = f"{result.n} of {whole} images"
    yield Open("the published accuracy", why, "published")


def _model(result: Result, recipe: Recipe | None) -> Iterator[Open]:
    """Whether the answers are those of the published model."""
    kind, digest = result.source.origin.kind, result.source.origin.sha256
    if kind == "none" and not result.source.metrics:
        yield Open("that the answers are the original model's", "there was no source model", "source.kind")
    elif kind not in ("none", "checkpoint"):
        yield Open("that this is the published model", f"the given {kind} defines the right answer", "source.kind")
    elif recipe is not None and recipe.weights is not None and digest is not None:
        in_name = HASH_IN_NAME.search(recipe.weights.file)
        known = recipe.weights.sha256 or (in_name[1] if in_name else "")
        if not known or not digest.startswith(known):
            why = "their digest is another than the recipe's" if known else "the recipe tells no digest of them"
            yield Open("that these are the published weights", why, "source.sha256")


def _left(result: Result) -> Iterator[Open]:
    if result.skipped:
        yield Open("the samples that were skipped", f"{result.skipped} of them", "skipped")


def of_all(open_points: Sequence[Sequence[Open]]) -> list[str]:
    """Return what several results leave open: each thing once, and of how many where not of all."""
    names = dict.fromkeys(point.what for points in open_points for point in points)
    counts = {name: sum(any(point.what == name for point in points) for points in open_points) for name in names}
    total = len(open_points)
    return [name if count == total else f"{name} ({count} of {total})" for name, count in counts.items()]
