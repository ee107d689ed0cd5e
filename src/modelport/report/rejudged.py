"""Checks and verdict of a result, made anew by the rules from figures that were counted anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from modelport.core.values import Check
from modelport.evaluate.recount import Recount
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.report.recomputed import Findings, Held, by_margin
from modelport.report.result import Result
from modelport.tasks.base import Task, judged_metrics
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Figures, Score
from modelport.verdict import chance, rules
from modelport.verdict.bootstrap import Resamples
from modelport.verdict.margin import WeightedBets
from modelport.verdict.sequential import Stop
from modelport.verdict.settings import Judging
from modelport.verdict.slices import suffering
from modelport.verdict.soundness import on_ground
from modelport.verdict.unlabelled import judge_unlabelled
from modelport.verdict.words import FAIL, INCONCLUSIVE

JUDGED_BY = ("verdict", "got", "want", "interval", "needed_n")
"""Of a check; its reason is text, which its digest holds."""
# More samples than any data set has; a chance is computed for each.
MOST_PLANNED = 10_000_000


def hold_checks(result: Result, recipe: Recipe, task: Task, counted: Recount, found: Findings) -> None:
    """Hold the checks, and the verdict over all of them, against the rules on the figures anew.

    What rests on the outputs themselves is taken as it is recorded. Raises what keys of another form make.
    """
    evidence = _evidence(result, recipe, task, counted, found)
    recorded, anew = _numbered(result.checks), _numbered(_judged(result, recipe, task, counted, evidence))
    words = dict(recorded)
    for key, check in anew.items():
        there = recorded.pop(key, None)
        if there is None:
            found.checks.append(Held(key[0], None, _told(check, JUDGED_BY), "is not among the recorded checks"))
            words[key] = check
            continue
        keys, why = _keys(there, check, evidence)
        found.checks.append(Held(key[0], _told(there, keys), _told(check, keys)))
        if why:
            found.not_recomputed.append((f"check {key[0]}", why))
        if "verdict" in keys:
            words[key] = check
    found.not_recomputed += [(f"check {name}", "it rests on the outputs themselves") for name, _ in recorded]
    found.checks.append(Held("verdict", result.verdict, rules.overall(words.values())))


def hold_slices(result: Result, task: Task, samples: Iterable[Mapping[str, Any]], found: Findings) -> None:
    """Hold what a result tells of classes and slices where more is lost than elsewhere."""
    wanted = task.deciding in result.further["paired"] and not by_margin(result)
    found.figures.append(Held("slices are told", "slices" in result.further, wanted))
    if "slices" not in result.further:
        return
    names = {row["class"]: row["name"] for row in result.further.get("per_class", ())}
    tolerance = Tolerance(**result.further["statistics"]["tolerance"])
    for key, anew in suffering(samples, tolerance).to_json(names).items():
        found.figures.append(Held(key, result.further[key], anew))


def _keys(recorded: Check, anew: Check, evidence: rules.Evidence) -> tuple[tuple[str, ...], str]:
    """Return what of a check is held, and why not all of it."""
    limits = ("got", "want")
    if (recorded.verdict, anew.verdict) == (INCONCLUSIVE, FAIL) and evidence.source is None:
        return limits, "ties of rounded outputs may have decided it"
    if recorded.interval is None or anew.interval is not None:
        return JUDGED_BY, ""
    return ("verdict", *limits) if evidence.full_set else limits, "its bounds rest on more than the lines tell"


def _evidence(result: Result, recipe: Recipe, task: Task, counted: Recount, found: Findings) -> rules.Evidence:
    """Return what the verdict rests on: figures and paired answers anew, by the settings that are recorded."""
    told = result.further["statistics"]
    judging = Judging(told["confidence"], told.get("max_drop"))
    tolerance = judging.tolerance(recipe)
    full = counted.labels and rules.is_full_set(recipe, counted.ids, result.skipped)
    source = None if result.source.origin.kind == "none" else result.source.metrics
    evidence = rules.Evidence(
        metrics=_with_values(result.metrics, counted.means(0)),
        source=None if source is None else _with_values(source, counted.means(1)),
        full_set=full,
        n=len(counted.ids),
        skipped=(),
        smallest_set=task.smallest_set,
        tolerance=tolerance,
        confidence=judging.confidence,
        paired=_paired(result, recipe, counted, found),
    )
    drawn_rule = told["rule"] if told["rule"] in ("fixed", "sequential") else "fixed"
    found.figures.append(Held("statistics.rule", told["rule"], "full_set" if full else drawn_rule))
    found.figures.append(Held("statistics.tolerance", told["tolerance"], tolerance.model_dump(mode="json")))
    decides = judged_metrics(recipe)
    drawn = None if counted.figures is None else counted.figures.resampled
    if drawn is not None and set(decides) - evidence.paired.keys():
        evidence = replace(evidence, resamples=Resamples.of(drawn, told["seed"]))
    if by_margin(result):
        return _by_margin(result, evidence, decides, counted, found)
    if told["rule"] == "sequential":
        stop = Stop.plain(decides, tolerance, judging.confidence)
        _hold_stop(result, stop, counted, found)
        evidence = replace(evidence, bets=stop.own)
    return evidence


def _by_margin(
    result: Result, evidence: rules.Evidence, metrics: Sequence[str], counted: Recount, found: Findings
) -> rules.Evidence:
    """Return the evidence with the figures of all planned samples as the drawn ones estimate them, and their bets."""
    told, tolerance = result.further["statistics"], evidence.tolerance
    assert tolerance is not None
    if not len(counted.ids) <= told["n_planned"] <= MOST_PLANNED:
        raise ValueError("statistics.n_planned is no number of samples")
    shares = {name: result.source.metrics[name].value / 100.0 for name in metrics}
    bets = {
        name: WeightedBets(tolerance, told["n_planned"], share, evidence.confidence) for name, share in shares.items()
    }
    _hold_stop(result, Stop(bets), counted, found)
    figures = {name: one.figure() for name, one in bets.items()}
    found.figures += [Held(f"metrics.{name}", result.metrics[name].value, value) for name, value in figures.items()]
    evidence = replace(evidence, metrics=_with_values(result.metrics, figures), source=result.source.metrics)
    return evidence if evidence.full_set else replace(evidence, bets=bets)


def _hold_stop(result: Result, stop: Stop, counted: Recount, found: Findings) -> None:
    """Let all samples be seen, and hold whether that decided the run."""
    decided = stop.take(counted.judged)
    stopped = result.further["statistics"]["stopped_at"]
    found.figures.append(Held("statistics.stopped_at", stopped, len(counted.ids) if decided else None))


def _paired(result: Result, recipe: Recipe, counted: Recount, found: Findings) -> dict[str, Paired]:
    """Return how source and engine answered the same samples, by metric; those of which the lines tell must be there.

    Two views of an image are answered in part, so that nothing is paired.
    """
    recorded = result.further["paired"]
    told = {name: pairs for name, one in counted.earned.items() if (pairs := one.paired()) is not None}
    due = told.keys() & recipe.metrics if recipe.dataset.views == 1 else set[str]()
    for name in sorted(due | recorded.keys()):
        if name in told:
            found.figures.append(Held(f"paired.{name}", recorded.get(name), asdict(told[name])))
        else:
            found.not_recomputed.append((f"paired.{name}", "the lines do not tell it"))
    return {name: told[name] if name in told else Paired(**recorded[name]) for name in due | recorded.keys()}


def _judged(result: Result, recipe: Recipe, task: Task, counted: Recount, evidence: rules.Evidence) -> Iterator[Check]:
    """Yield the checks that the rules make of the figures anew; none of a figure that was not counted anew."""
    figures = _figures(result, counted, evidence)
    anew = {check.name: check for check in _sound(result, task, counted, evidence, figures)}
    sound = [anew.get(check.name, check) for check in result.checks]
    if not counted.labels:
        yield from judge_unlabelled(recipe, evidence, [check for check in sound if _is_agreement(check)])
        return
    yield from anew.values()
    sampled = all(check.interval is not None for check in result.checks if check.name.endswith("_vs_source"))
    for check in on_ground(sound, evidence.source, rules.judge(recipe, evidence)):
        name = check.name.removesuffix("_vs_source").removesuffix("_vs_published")
        if _is_known(name, counted, evidence) and not (name == "samples" and sampled):
            yield check


def _is_agreement(check: Check) -> bool:
    return check.name == chance.AGREEMENT and check.got is not None


def _sound(result: Result, task: Task, counted: Recount, evidence: rules.Evidence, figures: Figures) -> Iterator[Check]:
    """Yield the checks of chance and agreement anew; what guessing gives is taken as it is recorded."""
    for check in result.checks:
        metric = check.name.removesuffix(chance.ABOVE_CHANCE)
        if metric in figures.chance and _is_known(metric, counted, evidence):
            yield chance.above_chance(metric, check.want, figures)
        elif metric == "agreement" and counted.compared:
            by_chance = replace(figures, agreement_by_chance=check.want / 100.0)
            yield from filter(None, [chance.agreement_above_chance(by_chance)])
        elif metric == chance.AGREEMENT and counted.compared:
            yield from filter(None, [chance.agreement(figures, task.agreement_floors, result.precision)])


def _figures(result: Result, counted: Recount, evidence: rules.Evidence) -> Figures:
    """Return the figures anew in the form that a scorer gives them, with what guessing gives as it is recorded."""
    ends = chance.ABOVE_CHANCE
    by_chance = {check.name.removesuffix(ends): check.want for check in result.checks if check.name.endswith(ends)}
    figures = Figures(dict(evidence.metrics), None if evidence.source is None else dict(evidence.source))
    figures.chance = {name: want for name, want in by_chance.items() if name in evidence.metrics}
    figures.flips.met, figures.flips.of = counted.met, counted.compared
    return figures


def _is_known(name: str, counted: Recount, evidence: rules.Evidence) -> bool:
    """Whether a figure, where it is recorded at all, was counted anew, of the engine and of the source."""
    sides = (evidence.metrics, counted.means(0)), (evidence.source or {}, counted.means(1))
    return all(name in anew for recorded, anew in sides if name in recorded)


def _with_values(scores: Mapping[str, Score], values: Mapping[str, float]) -> dict[str, Score]:
    return {name: replace(score, value=values.get(name, score.value)) for name, score in scores.items()}


def _numbered(checks: Iterable[Check]) -> dict[tuple[str, int], Check]:
    """Return checks by name and how many of that name came before: a figure may be published of two devices."""
    found: dict[tuple[str, int], Check] = {}
    seen = Counter[str]()
    for check in checks:
        found[check.name, seen[check.name]] = check
        seen[check.name] += 1
    return found


def _told(check: Check, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in check.to_json().items() if key in keys}
