"""What ``trace`` is asked for, and how it is resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from modelport.core.artifacts import hold_target
from modelport.core.errors import UsageError
from modelport.core.values import DataSet, Sample
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.diagnose.trace.road import precision_given
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.plan import NO_SOURCE, Given, Plan, Wish, fixed_batch
from modelport.tasks.table import need_labels

TRACE, REPORT, REPAIRED = "trace.json", "trace.md", "repaired.onnx"
# A departure that hides in so many images is looked for with more; each costs a run of every stage.
SAMPLES = 32


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """What ``modelport trace`` is asked for."""

    recipe: str
    data: Path
    out: Path
    weights: Path | None = None
    source: Path | Literal["none"] | None = None
    model: Path | None = None
    wish: Wish = field(default_factory=Wish)
    samples: int = SAMPLES
    seed: int = 0
    variant: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) in place of the recipe's
    checkpoint_key: str | None = None
    explorer: Path | None = None
    plan_out: Path | None = None
    apply: bool = False
    limit: int | None = None  # samples that ``apply`` judges on; None: all
    force: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request with every default resolved."""

    recipe: Recipe
    plan: Plan
    dataset: DataSet
    samples: Sequence[Sample]
    notes: tuple[str, ...]  # what is to be said of the choice

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that every graph of the road takes; None: any."""
        given = self.plan.given
        if given.model is not None and given.model.suffix.lower() != ".onnx":
            return self.plan.build.batch
        return given.fixed_batch or fixed_batch(given.source if isinstance(given.source, Path) else None)


def asked(request: TraceRequest) -> Asked:
    """Resolve what was left out.

    Raises UsageError for what does not go together, EngineError for an engine that is not usable here, DataError for a
    data set that is not the recipe's, OutputError for a place that is no file's.
    """
    if request.source == NO_SOURCE:
        raise UsageError(
            "--source none: a trace holds each stage against the source", "give --weights FILE or --source FILE.onnx"
        )
    if request.samples < 1:
        raise UsageError(f"--samples {request.samples}", "give a number of at least 1")
    if request.limit is not None and not request.apply:
        raise UsageError(
            "--limit says nothing without --apply: it is the samples that both are judged on",
            "leave it out, or add --apply",
        )
    if request.apply:
        _keep_given(request)
    for path in filter(None, (request.explorer, request.plan_out)):
        hold_target(path)
    recipe = load_recipe(request.recipe).with_variant(request.variant).with_shapes(request.shapes)
    recipe = recipe.with_checkpoint_key(request.checkpoint_key)
    wish = request.wish
    if wish.precision is None:
        wish = replace(wish, precision=precision_given(request.model))
    plan = Plan.of(recipe, wish, Given(request.weights, request.model, request.source), request.seed)
    need_labels(recipe)
    dataset = open_dataset(recipe, request.data)
    samples, said = chosen_samples(dataset, request.samples, "random", request.seed)
    return Asked(recipe, plan, dataset, samples, (*dataset.notes, *said))


def _keep_given(request: TraceRequest) -> None:
    """Raise UsageError where the repaired file would take the place of one that it is judged beside."""
    target = (request.out / REPAIRED).resolve()
    for given in (request.model, request.source):
        if isinstance(given, Path) and given.resolve() == target:
            raise UsageError(f"{given} would be written over by what --apply makes", "choose another --out")
