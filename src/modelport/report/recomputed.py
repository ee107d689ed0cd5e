"""What a result records beside what is computed anew from the lines that lie with it: figures, checks, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from modelport.core.values import Check
from modelport.data.sets.selection import MARGIN
from modelport.evaluate.recount import Earned, Recount, same
from modelport.evaluate.sample_log import SAMPLES
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.report.result import Result
from modelport.report.result_folder import PREDICTIONS
from modelport.tasks.base import Score, Task, judged_metrics
from modelport.tasks.paired import Paired
from modelport.verdict import rules
from modelport.verdict.chance import AGREEMENT as AGREEMENT_CHECK
from modelport.verdict.margin import WeightedBets
from modelport.verdict.sequential import Stop
from modelport.verdict.settings import Judging
from modelport.verdict.unlabelled import judge_unlabelled

AGREEMENT = "source_agreement"
# Lines that differ: the first few of perhaps all.
SHOWN = 5
JUDGED_BY = ("verdict", "got", "want", "interval", "needed_n")
"""Of a check; its reason is text, which its digest holds."""


@dataclass(frozen=True, slots=True)
class Held:
    """Something that is recorded, and what it is found to be."""

    name: str
    recorded: Any
    recomputed: Any
    why: str = ""  # it does not fit, whatever the values

    @property
    def fits(self) -> bool:
        """Whether both are the same, numbers to a billionth."""
        return not self.why and same(self.recorded, self.recomputed)

    def to_json(self) -> dict[str, Any]:
        """Return what ``verify --json`` tells."""
        told = {"name": self.name, "recorded": self.recorded, "recomputed": self.recomputed, "fits": self.fits}
        return told | ({"why": self.why} if self.why else {})


@dataclass(slots=True)
class Findings:
    """All that was held, and for what nothing could be computed, with the reason."""

    digests: list[Held] = field(default_factory=list)
    figures: list[Held] = field(default_factory=list)
    checks: list[Held] = field(default_factory=list)
    not_recomputed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether all of it fits."""
        return all(row.fits for row in (*self.digests, *self.figures, *self.checks))


def hold_figures(result: Result, task: Task, counted: Recount, found: Findings) -> None:
    """Hold the figures of a result against those that its lines give."""
    n = len(counted.ids)
    found.figures += [Held("n", result.n, n), Held("dataset.n", result.dataset.get("n"), n)]
    found.figures.append(Held("dataset.fingerprint", result.dataset.get("fingerprint"), counted.fingerprint))
    if _by_margin(result):
        found.not_recomputed.append(("source.metrics", "they are of all planned samples, of which some were drawn"))
        _hold_agreement(result, task, counted, found)
        return
    for side, (place, recorded) in enumerate((("metrics", result.metrics), ("source.metrics", result.source.metrics))):
        anew = counted.means(side)
        for name, score in recorded.items():
            if name in anew:
                found.figures.append(Held(f"{place}.{name}", score.value, anew[name]))
            elif name != AGREEMENT:
                found.not_recomputed.append((f"{place}.{name}", "the task does not count it from the lines"))
            if name in counted.earned:
                found.figures += _earned(f"{place}.{name}", score, counted.earned[name], side)
    _hold_agreement(result, task, counted, found)
    found.figures += [Held(place, None, None, f"is not as {PREDICTIONS} tells") for place in counted.differing[:SHOWN]]


def _earned(place: str, score: Score, earned: Earned, side: int) -> Iterator[Held]:
    """Hold a figure against what the samples earn: its mean, and of how many."""
    if n := earned.n(side):
        yield Held(f"{place} by {SAMPLES}", score.value, earned.mean(side))
        yield Held(f"{place}.n", score.n, n)


def _hold_agreement(result: Result, task: Task, counted: Recount, found: Findings) -> None:
    """Hold how many answers are the source's."""
    recorded = result.metrics.get(AGREEMENT)
    if not counted.compared:
        if recorded is not None:
            found.not_recomputed.append((f"metrics.{AGREEMENT}", "the lines do not tell which answers agree"))
        return
    found.figures.append(Held("source.flip_count", result.source.flip_count, counted.compared - counted.agree))
    if task.agrees_in_part:
        found.not_recomputed.append((f"metrics.{AGREEMENT}", "an answer may be the source's in part"))
    else:
        share = 100.0 * counted.agree / counted.compared
        found.figures.append(Held(f"metrics.{AGREEMENT}", None if recorded is None else recorded.value, share))


def hold_checks(result: Result, recipe: Recipe, task: Task, counted: Recount, found: Findings) -> None:
    """Hold the checks of the accuracy, and the verdict over all checks, against the rules on the figures anew."""
    evidence = _evidence(result, recipe, task, counted, found)
    recorded, anew = _numbered(result.checks), _numbered(_judged(result, recipe, counted, evidence))
    words = dict(recorded)
    for key, check in anew.items():
        there = recorded.pop(key, None)
        if there is None:
            found.checks.append(Held(key[0], None, _told(check, JUDGED_BY), "is not among the recorded checks"))
            words[key] = check
            continue
        # What is drawn again to tell how sure a figure is needs more than the lines tell.
        drawn = there.interval is not None and check.interval is None
        keys = JUDGED_BY if not drawn else ("verdict", "got", "want") if evidence.full_set else ("got", "want")
        found.checks.append(Held(key[0], _told(there, keys), _told(check, keys)))
        if drawn:
            found.not_recomputed.append((f"check {key[0]}", "its bounds rest on resamples of outputs"))
        if "verdict" in keys:
            words[key] = check
    found.not_recomputed += [(f"check {name}", "it rests on the outputs themselves") for name, _ in recorded]
    found.checks.append(Held("verdict", result.verdict, rules.overall(words.values())))


def _evidence(result: Result, recipe: Recipe, task: Task, counted: Recount, found: Findings) -> rules.Evidence:
    """Return what the verdict rests on: figures and paired answers anew, of the settings that are recorded."""
    told = result.further["statistics"]
    judging = Judging(told["confidence"], told.get("max_drop"))
    full = counted.labels and rules.is_full_set(recipe, counted.ids, result.skipped)
    source = None if result.source.origin.kind == "none" else result.source.metrics
    evidence = rules.Evidence(
        metrics=_with_values(result.metrics, counted.means(0)),
        source=None if source is None else _with_values(source, counted.means(1)),
        full_set=full,
        n=len(counted.ids),
        skipped=(),
        smallest_set=task.smallest_set,
        tolerance=judging.tolerance(recipe),
        confidence=judging.confidence,
        paired=_paired(result, counted, found),
    )
    found.figures.append(Held("statistics.rule is full_set", told["rule"] == "full_set", full))
    if told["rule"] != "sequential":
        return evidence
    rule = (judged_metrics(recipe), judging.tolerance(recipe), judging.confidence)
    if _by_margin(result):
        return _weighted(result, evidence, counted, rule, found)
    stop = Stop.plain(*rule)
    decided = stop.take(counted.judged())
    found.figures.append(Held("statistics.stopped_at", told["stopped_at"], evidence.n if decided else None))
    return replace(evidence, bets=stop.own)


def _by_margin(result: Result) -> bool:
    """Whether figures are estimates of weighted samples."""
    return bool(result.further["statistics"]["order"] == MARGIN)


def _weighted(
    result: Result,
    evidence: rules.Evidence,
    counted: Recount,
    rule: tuple[Sequence[str], Tolerance, float],
    found: Findings,
) -> rules.Evidence:
    """Return what the verdict rests on, where samples were drawn by margin: estimates, of the source's own figures."""
    (metrics, tolerance, confidence), told = rule, result.further["statistics"]
    source = {name: result.source.metrics[name].value / 100.0 for name in metrics}
    bets = {name: WeightedBets(tolerance, told["n_planned"], source[name], confidence) for name in metrics}
    stop = Stop(bets)
    decided = stop.take(counted.weighted)
    estimates = {name: one.figure() for name, one in bets.items()}
    found.figures += [Held(f"metrics.{name}", result.metrics[name].value, value) for name, value in estimates.items()]
    found.figures.append(Held("statistics.stopped_at", told["stopped_at"], evidence.n if decided else None))
    recorded = _with_values(result.metrics, estimates)
    return replace(evidence, metrics=recorded, source=result.source.metrics, bets=stop.bets)


def _paired(result: Result, counted: Recount, found: Findings) -> dict[str, Paired]:
    """Return how source and engine answered the same samples, by metric of which that is recorded."""
    pairs = {}
    for name, cells in result.further["paired"].items():
        recorded = Paired(**cells)
        anew = counted.earned[name].paired() if name in counted.earned else None
        if anew is None:
            found.not_recomputed.append((f"paired.{name}", "samples.jsonl does not tell it"))
        else:
            found.figures.append(Held(f"paired.{name}", cells, asdict(anew)))
        pairs[name] = recorded if anew is None else anew
    return pairs


def _judged(result: Result, recipe: Recipe, counted: Recount, evidence: rules.Evidence) -> Iterator[Check]:
    """Yield the checks that the rules make of the figures anew; none of a figure that was not counted anew."""
    if not counted.labels:
        sound = [check for check in result.checks if check.name == AGREEMENT_CHECK and check.got is not None]
        yield from judge_unlabelled(recipe, evidence, sound)
        return
    sides = (evidence.metrics, counted.means(0)), (evidence.source or {}, counted.means(1))
    unknown = {name for recorded, anew in sides for name in recorded if name not in anew}
    sampled = all(check.interval is not None for check in result.checks if check.name.endswith("_vs_source"))
    for check in rules.judge(recipe, evidence):
        name = check.name.removesuffix("_vs_source").removesuffix("_vs_published")
        if name not in unknown and not (name == "samples" and sampled):
            yield check


def _with_values(scores: Mapping[str, Score], values: Mapping[str, float]) -> dict[str, Score]:
    return {name: replace(score, value=values.get(name, score.value)) for name, score in scores.items()}


def _numbered(checks: Iterable[Check]) -> dict[tuple[str, int], Check]:
    """Return checks by name and how many of that name came before: a figure may be published of two devices."""
    found: dict[tuple[str, int], Check] = {}
    for check in checks:
        found[check.name, sum(name == check.name for name, _ in found)] = check
    return found


def _told(check: Check, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in check.to_json().items() if key in keys}
