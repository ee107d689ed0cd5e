"""From figures to a verdict, by the rules of the result file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelport.core.options import CONFIDENCE, MAX_SKIPPED
from modelport.core.values import Check
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Published, Tolerance
from modelport.tasks.base import judged_metrics
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Score, Ties
from modelport.verdict.bootstrap import Resamples
from modelport.verdict.drop import Drop, by_bets, by_counts, by_resamples, unit_of
from modelport.verdict.sequential import AnyBets
from modelport.verdict.words import FAIL, INCOMPLETE, INCONCLUSIVE, NOT_APPLICABLE, PASS, unit_word


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on."""

    metrics: Mapping[str, Score]
    source: Mapping[str, Score] | None  # the source model's figures on the same samples; None: there is no source
    full_set: bool
    n: int  # samples scored
    skipped: Sequence[str]  # ids that could not be decoded
    smallest_set: int
    duplicates: Mapping[str, str] = field(default_factory=dict)  # sample → an earlier one of the same content
    max_skipped: float = MAX_SKIPPED
    tolerance: Tolerance | None = None  # in place of the recipe's
    confidence: float = CONFIDENCE  # of each bound
    paired: Mapping[str, Paired] = field(default_factory=dict)  # metrics that are shares of right answers
    resamples: Resamples | None = None  # of the others
    bounds: bool = True  # whether intervals, and how many samples would settle it, are told beside the words
    bets: Mapping[str, AnyBets] | None = None  # of a run that may stop at any moment
    # Points by which a metric may be higher than it looks: rounding made ties, and a tie counts as wrong.
    unsure: Mapping[str, float] = field(default_factory=dict)

    def is_sampled(self, name: str) -> bool:
        """Whether statistics of samples tell of this metric how sure it is."""
        drawn = self.resamples
        return name in self.paired or name in (self.bets or {}) or (drawn is not None and name in drawn.engine)

    def drop(self, name: str, got: Score, want: Score, tolerance: Tolerance) -> Drop | None:
        """Return what is shown of the loss of a metric; None where nothing tells how sure it is."""
        seen, bets = self.paired.get(name), (self.bets or {}).get(name)
        if bets is not None and bets.n:
            return by_bets(bets, seen, tolerance, self.confidence)
        if seen is not None and seen.n:
            return by_counts(seen, tolerance, self.confidence, self.bounds)
        if self.resamples is None or name not in self.resamples.engine:
            return None
        unit = unit_of(want, tolerance)
        loss = loss_of(got.value, want) / unit if unit > 0.0 else math.inf
        return by_resamples(self.resamples, name, want, loss, tolerance, self.confidence)


def is_full_set(recipe: Recipe, ids: Iterable[str], skipped: int) -> bool:
    """Whether these are the samples that the published figures were measured on, by number and by name."""
    if recipe.dataset.published_ids is None:
        return False
    pattern = re.compile(recipe.dataset.published_ids)
    n, fitting = 0, True
    for name in ids:
        n += 1
        fitting = fitting and pattern.fullmatch(name) is not None
    return fitting and n == recipe.dataset.published_n and skipped == 0


def judge(recipe: Recipe, evidence: Evidence) -> list[Check]:
    """Return the checks of the accuracy. Only metrics with a published figure are judged; the others are told."""
    judged = judged_metrics(recipe)
    checks = [_against_source(name, evidence, evidence.tolerance or recipe.tolerance) for name in judged]
    checks += [_against_published(figure, evidence, recipe) for figure in recipe.published]
    if evidence.source is not None and not all(map(evidence.is_sampled, judged)):
        checks.append(enough_samples(evidence))
    return checks + judge_missing(evidence)


def enough_samples(evidence: Evidence) -> Check:
    """Return the check of how many samples there are, where no statistics tell how many are enough."""
    enough = evidence.n >= evidence.smallest_set
    why = "enough samples for a verdict" if enough else f"below {evidence.smallest_set} samples no verdict is given"
    return Check("samples", PASS if enough else INCONCLUSIVE, evidence.n, evidence.smallest_set, why)


def judge_missing(evidence: Evidence) -> list[Check]:
    """Return the checks of which samples are not among those that count."""
    checks = []
    if evidence.skipped:
        checks.append(_skipped(evidence))
    if evidence.duplicates:
        checks.append(_duplicates(evidence))
    return checks


def overall(checks: Iterable[Check]) -> str:
    """Return the one word: a failure decides, then too few samples, then a missing number, else pass."""
    verdicts = {check.verdict for check in checks}
    return next((word for word in (FAIL, INCONCLUSIVE, INCOMPLETE) if word in verdicts), PASS)


def limit_of(reference: Score, tolerance: Tolerance) -> float:
    """Return the worst figure that still passes, in the reference's unit: above it where a rise is the loss."""
    allowed = tolerance.value * unit_of(reference, tolerance)
    return reference.value + allowed if reference.rise_is_loss else reference.value - allowed


def loss_of(got: float, reference: Score) -> float:
    """Return by how much a figure is worse than the reference, negative where it is better."""
    return got - reference.value if reference.rise_is_loss else reference.value - got


def excess_of(got: float, reference: Score, tolerance: Tolerance) -> float:
    """Return by how much a figure is worse than the worst that still passes; 0 or below passes."""
    return loss_of(got, replace(reference, value=limit_of(reference, tolerance)))


def tolerance_text(tolerance: Tolerance, reference: Score | None = None) -> str:
    """Return the tolerance in words."""
    whole = "the reference" if reference is None or reference.scale is None else reference.scale_is
    unit = f"percent of {whole}" if tolerance.unit == "percent_of_reference" else "points"
    return f"{tolerance.value:g} {unit}, one-sided"


def rounding_of(rounded: str, tied: Ties) -> str:
    """Return what rounded the outputs before they came here, where that could make ties that lower a figure.

    Where a tie counts as right it lowers none.
    """
    return "" if tied.count_as_right else rounded


def tie_notes(rounding: str, tied: Ties) -> list[str]:
    """Return what is to be said of rows that a tie decides: any where outputs were rounded, else too many."""
    metrics = list(tied.counts)
    affected = tied.affected(metrics)
    if not affected or not (rounding or tied.too_many(metrics)):
        return []
    named = ", ".join(f"{name}: {count} of {tied.n} rows" for name, count in affected.items())
    counted = f"ties decide {named}; a tie counts as {'right' if tied.count_as_right else 'wrong'}"
    return [f"{rounding} are too few: {counted}. Save the outputs as NPY or BIN in float32" if rounding else counted]


def digit_checks(rounding: str, recipe: Recipe, tied: Ties, few: Sequence[str]) -> tuple[Check, ...]:
    """Return the check that too many rows fail whose outcome the rounding has decided."""
    judged = judged_metrics(recipe)
    if not rounding or not tied.too_many(judged):
        return ()
    most = max(tied.affected(judged).values())
    return (Check("txt_digits", INCONCLUSIVE, most, 0, few[0]),)


def _skipped(evidence: Evidence) -> Check:
    count = len(evidence.skipped)
    share = count / (evidence.n + len(evidence.duplicates) + count)
    why = f"{count} samples could not be decoded and are not scored: {_some(evidence.skipped)}"
    if share <= evidence.max_skipped:
        return Check("skipped", PASS, count, 0, why)
    why += f"; that is {share:.1%}, at most {evidence.max_skipped:.1%} may be missing (--max-skipped)"
    return Check("skipped", INCONCLUSIVE, count, 0, why)


def _duplicates(evidence: Evidence) -> Check:
    count = len(evidence.duplicates)
    named = _some([f"{one} is {other}" for one, other in evidence.duplicates.items()])
    counted = "as published, each is counted" if evidence.full_set else "each content is counted once"
    return Check("duplicates", PASS, count, 0, f"{count} samples have the content of another, {counted}: {named}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _against_source(name: str, evidence: Evidence, tolerance: Tolerance) -> Check:
    got = evidence.metrics.get(name)
    if evidence.source is None:
        why = "there is no source model to hold it against: `modelport run` with --weights brings one"
        return Check(f"{name}_vs_source", INCOMPLETE, got.value if got else None, None, why)
    want = evidence.source.get(name)
    if got is None or want is None or got.n != want.n:
        missing = "the figure" if got is None else "the source model's figure on the same samples"
        return Check(f"{name}_vs_source", INCOMPLETE, got and got.value, want and want.value, f"{missing} is missing")
    limit, end = limit_of(want, tolerance), end_of(want)
    why = f"source model {want.value:.4g}, {end} that passes {limit:.4g} ({tolerance_text(tolerance, want)})"
    word, more = _held(got.value, limit, want, evidence.unsure.get(name, 0.0))
    drop = evidence.drop(name, got, want, tolerance) if math.isfinite(got.value) and math.isfinite(limit) else None
    if drop is None:
        return Check(f"{name}_vs_source", word, got.value, limit, why + more)
    if not evidence.full_set and not (drop.word == FAIL and word == INCONCLUSIVE):
        word, more = drop.word, ""
    needed_n = drop.needed_n if word == INCONCLUSIVE else None
    told = f"{why}; {drop_text(drop, evidence, tolerance, needed_n)}{more}"
    return Check(f"{name}_vs_source", word, got.value, limit, told, drop.to_json(), needed_n)


def drop_text(drop: Drop, evidence: Evidence, tolerance: Tolerance, needed_n: int | None) -> str:
    """Return in words between which bounds the loss lies, and how many samples would settle it."""
    unit = unit_word(tolerance.unit)
    low, high = (f"{end:.3g}" if math.isfinite(end) else "?" for end in drop.interval)
    said = f"the loss lies between {low} and {high} {unit} ({evidence.confidence:.0%} each way; {drop.more})"
    if evidence.full_set:
        return f"{said}; on the full published set the observed figure decides"
    return f"{said}; some {needed_n} samples would settle it" if needed_n is not None else said


def _against_published(figure: Published, evidence: Evidence, recipe: Recipe) -> Check:
    name = f"{figure.metric}_vs_published"
    got = evidence.metrics.get(figure.metric)
    if figure.variant != recipe.variant:
        measured = f"--variant {figure.variant}" if figure.variant else "no --variant"
        why = f"does not apply: {figure.value} was measured with {measured}; "
        return Check(name, NOT_APPLICABLE, got and got.value, None, why + "the verdict rests on the source model")
    if not evidence.full_set:
        why = f"does not apply: not the {recipe.dataset.published_n} samples of the published figure; "
        return Check(name, NOT_APPLICABLE, got and got.value, None, why + "the verdict rests on the source model")
    if got is None:
        return Check(name, INCOMPLETE, None, figure.value, "the figure is missing")
    want = replace(got, value=figure.value)
    tolerance = evidence.tolerance or recipe.tolerance
    limit = limit_of(want, tolerance)
    why = f"published {figure.value} on {figure.device}, "
    why += f"{end_of(want)} that passes {limit:.4g} ({tolerance_text(tolerance, want)})"
    word, more = _held(got.value, limit, want, evidence.unsure.get(figure.metric, 0.0))
    source = (evidence.source or {}).get(figure.metric)
    if word != PASS and source is not None and excess_of(source.value, want, tolerance) > 0:
        more += f"; the source model's own is {source.value:.4g}: look at the labels, the preprocessing and the "
        more += "weights, which both share"
    return Check(name, word, got.value, limit, why + more)


def end_of(reference: Score) -> str:
    """Return which end of the figures that pass is meant by a limit."""
    return "highest" if reference.rise_is_loss else "lowest"


def _held(value: float, limit: float, reference: Score, unsure: float) -> tuple[str, str]:
    """Return fail beyond the limit, and what is to be added to the reason.

    A figure that is not finite, or is held against one, tells nothing, nor does one that could be ``unsure`` better
    and then pass.
    """
    if not (math.isfinite(value) and math.isfinite(limit)):
        return INCONCLUSIVE, ""
    excess = loss_of(value, replace(reference, value=limit))
    if excess <= 0:
        return PASS, ""
    if excess <= unsure:
        return INCONCLUSIVE, f"; ties alone could be the cause of the drop: without them up to {value + unsure:.4g}"
    return FAIL, ""
