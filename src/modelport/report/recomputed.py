"""What a result records beside what is computed anew from the lines that lie with it: figures, checks, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelport.core.values import Check
from modelport.evaluate.recount import Earned, Recount, same
from modelport.evaluate.sample_log import SAMPLES
from modelport.recipes.schema import Recipe
from modelport.report.result import Result
from modelport.report.result_folder import PREDICTIONS
from modelport.tasks.base import Score, Task
from modelport.verdict import rules, soundness
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
    recorded, anew = _numbered(result.checks), _numbered(_judged(result, recipe, task, counted))
    for (name, place), check in anew.items():
        there = recorded.pop((name, place), None)
        why = "" if there is not None else "is not among the recorded checks"
        found.checks.append(Held(name, None if there is None else _told(there), _told(check), why))
    found.not_recomputed += [(f"check {name}", "what it rests on is not in the folder") for name, _ in recorded]
    found.checks.append(Held("verdict", result.verdict, rules.overall([*recorded.values(), *anew.values()])))


def _judged(result: Result, recipe: Recipe, task: Task, counted: Recount) -> Iterator[Check]:
    """Yield the checks that the rules make of the figures anew; none of a figure that was not counted anew."""
    source = None if result.source.origin.kind == "none" else result.source.metrics
    anew = [counted.means(side) for side in (0, 1)]
    told = [*((name, 0) for name in result.metrics), *((name, 1) for name in source or ())]
    unknown = {name for name, side in told if name not in anew[side]}
    evidence = rules.Evidence(
        metrics=_with_values(result.metrics, anew[0]),
        source=None if source is None else _with_values(source, anew[1]),
        full_set=counted.labels and rules.is_full_set(recipe, counted.ids, result.skipped),
        n=len(counted.ids),
        skipped=(),
        smallest_set=task.smallest_set,
    )
    if not counted.labels:
        sound = [check for check in result.checks if check.name == soundness.AGREEMENT]
        yield from judge_unlabelled(recipe, evidence, sound)
        return
    for check in rules.judge(recipe, evidence):
        if check.name.removesuffix("_vs_source").removesuffix("_vs_published") not in unknown:
            yield check


def _with_values(scores: Mapping[str, Score], values: Mapping[str, float]) -> dict[str, Score]:
    return {name: replace(score, value=values.get(name, score.value)) for name, score in scores.items()}


def _numbered(checks: Iterable[Check]) -> dict[tuple[str, int], Check]:
    """Return checks by name and how many of that name came before: a figure may be published of two devices."""
    found: dict[tuple[str, int], Check] = {}
    for check in checks:
        found[check.name, sum(name == check.name for name, _ in found)] = check
    return found


def _told(check: Check) -> dict[str, Any]:
    return {key: value for key, value in check.to_json().items() if key in JUDGED_BY}
