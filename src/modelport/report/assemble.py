"""From figures to the result: what ``run`` and ``evaluate`` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from modelport.core.artifacts import Artifact
from modelport.core.values import Check
from modelport.evaluate.score import Scored
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.report.result import Result, SourceFigures, SourceOrigin, Speed, environment
from modelport.report.speed import compare
from modelport.tasks.base import Task, judged_metrics
from modelport.tasks.classification.topk import percent
from modelport.tasks.scoring import SOURCE_AGREEMENT, Figures
from modelport.verdict import rules as verdict
from modelport.verdict.bootstrap import Resamples
from modelport.verdict.settings import Judging
from modelport.verdict.slices import suffering
from modelport.verdict.soundness import on_ground
from modelport.verdict.unlabelled import NO_LABELS, judge_unlabelled

ABSENT = f"{NO_LABELS}: figures that need them are absent"


@dataclass(frozen=True, slots=True)
class Origin:
    """What gave the answers; None for what is not known."""

    engine: str | None
    precision: str | None
    batch: int | None
    source: SourceOrigin | None = None  # what the answers are held against
    artifacts: Sequence[Artifact] = ()
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()
    rounded: str = ""  # what rounded the answers before they came here


def assemble(
    recipe: Recipe, task: Task, scored: Scored, origin: Origin, speed: Speed, judging: Judging | None = None
) -> Result:
    """Judge the figures and return the result, but for what only the caller knows (seed, command, times)."""
    judging = judging or Judging()
    n, figures = len(scored.ids), scored.figures
    full = is_full(recipe, scored)
    ties = verdict.tie_notes(verdict.rounding_of(origin.rounded, scored.ties), scored.ties)
    checks = checks_of(recipe, task, scored, origin, judging)
    slices, suffers = _slices(task, scored, judging.tolerance(recipe))
    metrics = dict(figures.metrics)
    flips = figures.flips
    if flips.of:
        metrics[SOURCE_AGREEMENT] = percent(flips.met, flips.of)
    return Result(
        recipe=recipe.name,
        variant=recipe.variant,
        recipe_sha256=recipe.digest,
        engine=origin.engine,
        precision=origin.precision,
        batch=origin.batch,
        verdict=verdict.overall(checks),
        rests_on=_rests_on(recipe, full, origin.source is not None, scored.labels),
        n=n,
        skipped=len(scored.skipped),
        duplicates=len(scored.duplicates),
        metrics=metrics,
        source=SourceFigures(figures.source or {}, flips.count, tuple(flips.first), origin.source or SourceOrigin()),
        reference=_reference(recipe, full, figures, origin.source or SourceOrigin()),
        published=tuple(
            figure.model_dump(mode="json") | {"applies": full and figure.variant == recipe.variant}
            for figure in recipe.published
        ),
        checks=tuple(checks),
        speed=speed,
        artifacts=tuple(row for artifact in origin.artifacts for row in artifact.to_json()),
        dataset={"name": recipe.dataset.kind, "n": n, "fingerprint": scored.fingerprint}
        | ({} if scored.labels else {"labels": "not looked at"}),
        notes=(
            *judging.notes(recipe),
            *(scored.stop.notes() if scored.stop is not None else ()),
            *origin.notes,
            *figures.notes,
            *ties,
            *suffers,
            *(() if scored.labels else (ABSENT,)),
        ),
        environment=environment(),
        further={"statistics": judging.statistics(recipe, full, n, _decided(scored))}
        | {"paired": _paired(recipe, figures)}
        | ({"per_class": figures.per_class} if figures.per_class else {})
        | figures.further
        | slices
        | _published_speeds(recipe, origin.batch, speed),
    )


def _published_speeds(recipe: Recipe, batch: int | None, speed: Speed) -> dict[str, Any]:
    """Return the key that holds published speeds beside the run's own, in the form in which ``bench`` tells them."""
    ran = speed.throughput["host"]
    points = [] if batch is None or ran is None else [{"batch": batch, "throughput": ran}]
    return {"published_speeds": compare(recipe.speeds, points)} if recipe.speeds else {}


def is_full(recipe: Recipe, scored: Scored) -> bool:
    """Whether these are the samples, with labels, that the published figures were measured on."""
    return scored.labels and verdict.is_full_set(recipe, scored.ids, len(scored.skipped))


def checks_of(recipe: Recipe, task: Task, scored: Scored, origin: Origin, judging: Judging) -> list[Check]:
    """Return all checks; what keeps the figures from meaning anything is told before the figures."""
    figures, rounding = scored.figures, verdict.rounding_of(origin.rounded, scored.ties)
    evidence = _evidence(recipe, task, scored, judging, is_full(recipe, scored))
    evidence = replace(evidence, unsure=scored.ties.points(judged_metrics(recipe)) if rounding else {})
    checks = [*scored.soundness.checks(figures, origin.precision), *origin.checks]
    if not scored.labels:
        return judge_unlabelled(recipe, evidence, checks)
    checks += verdict.digit_checks(rounding, recipe, scored.ties, verdict.tie_notes(rounding, scored.ties))
    return checks + on_ground(checks, figures.source, verdict.judge(recipe, evidence))


def _evidence(recipe: Recipe, task: Task, scored: Scored, judging: Judging, full: bool) -> verdict.Evidence:
    """Return what the verdict rests on; images are drawn again for figures that decide and are no counts."""
    figures = scored.figures
    resampled = figures.resampled
    wanted = scored.labels and set(judged_metrics(recipe)) - set(figures.paired)
    return verdict.Evidence(
        *(figures.metrics, figures.source, full, len(scored.ids), scored.skipped, task.smallest_set),
        duplicates=scored.duplicates,
        max_skipped=judging.max_skipped,
        tolerance=judging.tolerance(recipe),
        confidence=judging.confidence,
        bounds=judging.bounds,
        paired=figures.paired,
        resamples=Resamples.of(resampled, judging.seed) if wanted and resampled is not None else None,
        bets=None if scored.stop is None or full else scored.stop.own,
    )


def _decided(scored: Scored) -> bool:
    return scored.stop is not None and scored.stop.decided_at is not None


def _paired(recipe: Recipe, figures: Figures) -> dict[str, dict[str, int]]:
    """Return the counts of the recipe's metrics, as the result file holds them."""
    return {name: asdict(seen) for name, seen in figures.paired.items() if name in recipe.metrics}


def _slices(task: Task, scored: Scored, tolerance: Tolerance) -> tuple[dict[str, Any], list[str]]:
    """Return the keys of a result that tell where more is lost than elsewhere, and what is to be said of it.

    None where there is no source, where samples are neither right nor wrong, or where those that flip most easily were
    drawn more often.
    """
    if scored.samples is None or scored.planned is not None or task.deciding not in scored.figures.paired:
        return {}, []
    with scored.samples.open(encoding="utf-8") as lines:
        found = suffering(map(json.loads, lines), tolerance)
    names = {row["class"]: row["name"] for row in scored.figures.per_class}
    return found.to_json(names), found.notes(task.deciding, names)


def _reference(recipe: Recipe, full: bool, figures: Figures, origin: SourceOrigin) -> dict[str, Any]:
    """Return what each metric is held against: the published figure on its own data, else the source model."""
    source = f"{origin.title}, same samples"
    found = {
        name: {"value": score.value, "unit": score.unit, "source": source}
        for name, score in (figures.source or {}).items()
    }
    if full:
        found |= {
            figure.metric: {"value": figure.value, "unit": figure.unit, "source": figure.source}
            for figure in recipe.published
            if figure.variant == recipe.variant
        }
    return found


def _rests_on(recipe: Recipe, full: bool, has_source: bool, labels: bool) -> str:
    if not labels:
        rests = "The verdict rests on the agreement with the source model alone"
        return f"{rests if has_source else 'There is no source model to rest a verdict on'}: {NO_LABELS}."
    if full and any(figure.variant == recipe.variant for figure in recipe.published):
        also = " and on the source model" if has_source else ""
        return f"The verdict rests on the published figures{also}: this is the full published set."
    why, whole = "no figure is published", recipe.dataset.published_n
    if not full and whole is not None:
        why = f"this is not the full set of {whole} samples on which the published figures were measured"
    if has_source:
        return f"The verdict rests on the source model alone: {why}."
    return f"There is no source model to rest a verdict on, and {why}."
