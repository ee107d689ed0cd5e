"""Whether a figure's loss against the source lies within the tolerance, beyond it, or cannot be told yet.

By counts of right answers (``exact``), by bets where the run stops as soon as it is sure (``sequential``), or by
resampled images for figures that are no counts (``bootstrap``). Losses are in the tolerance's unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Floats
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Score
from modelport.verdict import bootstrap
from modelport.verdict.betting import Game, log_mixture, log_wealths
from modelport.verdict.binomial import clopper_pearson
from modelport.verdict.bootstrap import Resamples
from modelport.verdict.exact import FINE, loss_bounds, p_value
from modelport.verdict.sequential import AnyBets

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
# Beyond so many samples nobody goes on; the number is not looked for.
MOST_NEEDED = 10_000_000
# Up to so many, the number that is told was tried by the exact test.
SUMMED = 3000


@dataclass(frozen=True, slots=True)
class Drop:
    """What is shown of a loss; ``interval`` (low, high), each bound one-sided, infinite where there is none."""

    word: str
    interval: tuple[float, float]
    needed_n: int | None = None  # samples that would settle it; None where it is settled, or no number would
    more: str = ""  # what else the reason says

    def to_json(self) -> list[float | None]:
        """Return the interval as the result file holds it: null for a bound that there is not."""
        return [end if math.isfinite(end) else None for end in self.interval]


def unit_of(reference: Score, tolerance: Tolerance) -> float:
    """Return what one unit of the tolerance is, in the figure's own unit; 0 of a reference that is zero."""
    if tolerance.unit == "percent_of_reference":
        return (reference.value if reference.scale is None else reference.scale) / 100.0
    # A point of a figure that is told as a fraction is a hundredth.
    return 0.01 if reference.unit == "fraction" else 1.0


def by_counts(seen: Paired, tolerance: Tolerance, confidence: float, bounds: bool = True) -> Drop:
    """Judge on a sample of fixed size, exactly; without ``bounds`` for the word alone, in a tenth of the time."""
    side, error = _side(seen, tolerance), 1.0 - confidence
    shown = p_value(seen, tolerance.value, tolerance.unit, side) <= error
    if not bounds:
        return Drop(side if shown else INCONCLUSIVE, (-math.inf, math.inf))
    low, high = loss_bounds(seen, tolerance.unit, confidence)
    # Bounds are found to two percent of their distance; the p-value is the sharper of the two.
    if side == PASS:
        high = min(high, tolerance.value) if shown else max(high, tolerance.value)
    else:
        low = max(low, tolerance.value) if shown else min(low, tolerance.value)
    more = f"{seen.flipped} of {seen.n} answers flipped"
    if shown:
        return Drop(side, (low, high), more=more)
    return Drop(INCONCLUSIVE, (low, high), needed(seen, tolerance, side, confidence), more)


def by_bets(bets: AnyBets, seen: Paired | None, tolerance: Tolerance, confidence: float) -> Drop:
    """Judge a run that may have stopped at any moment."""
    word, interval = bets.word(), bets.interval()
    more = "" if seen is None else f"{seen.flipped} of {seen.n} answers flipped"
    if word is not None:
        return Drop(word, interval, more=more)
    wanted = None if seen is None else needed(seen, tolerance, _side(seen, tolerance), confidence, at_any_moment=True)
    return Drop(INCONCLUSIVE, interval, wanted, more)


def by_resamples(
    drawn: Resamples, name: str, reference: Score, loss: float, tolerance: Tolerance, confidence: float
) -> Drop:
    """Judge a figure that is no count; ``loss`` is the observed one, in the tolerance's unit."""
    losses = losses_of(drawn.engine[name], drawn.source[name], reference, tolerance)
    low, high = bootstrap.bounds(losses, loss, drawn.differ, confidence)
    low, high = min(low, loss), max(high, loss)
    more = f"{drawn.differ} of {drawn.images} images differ"
    limit = tolerance.value
    if low > limit:
        return Drop(FAIL, (low, high), more=more)
    if not drawn.enough:
        return _by_share(drawn, reference, (low, high), tolerance, confidence)
    if high <= limit:
        return Drop(PASS, (low, high), more=more)
    return Drop(INCONCLUSIVE, (low, high), _needed_images(drawn.images, loss, (low, high), limit), more)


def losses_of(engine: Floats, source: Floats, reference: Score, tolerance: Tolerance) -> Floats:
    """Return losses (n,) in the tolerance's unit; a percentage of the source's figure is one of each resample's.

    NaN where that is zero.
    """
    away = engine - source if reference.rise_is_loss else source - engine
    if tolerance.unit == "percent_of_reference" and reference.scale is None:
        # Of a source that found nothing no share is known.
        shares: Floats = np.divide(100.0 * away, source, out=np.full(len(source), np.nan), where=source != 0.0)
        return shares
    return away / unit_of(reference, tolerance)


def needed(seen: Paired, tolerance: Tolerance, side: str, confidence: float, at_any_moment: bool = False) -> int | None:
    """Return about how many samples would settle it, were they answered as these; None where none would.

    Evidence grows with the samples by what the best stake wins of each, on average.
    """
    game = Game.of(tolerance.value, tolerance.unit)
    game = game if side == PASS else game.against()
    growth = float(log_wealths(game, seen, FINE).max()) / seen.n
    error = 1.0 - confidence
    # Twice the evidence is about a chi-squared.
    least = NormalDist().inv_cdf(error) ** 2 / 2.0
    if growth <= 0.0 or least / growth > MOST_NEEDED:
        return None

    def settles(n: int) -> bool:
        if at_any_moment:
            return log_mixture(game, seen.scaled(n)) >= -math.log(error)
        # Of many samples, that approximation serves, and the exact sum would take long.
        exact = n <= SUMMED
        return not exact or p_value(seen.scaled(n), tolerance.value, tolerance.unit, side) <= error

    n = max(seen.n + 1, math.ceil(least / growth))
    while not settles(n) and n < MOST_NEEDED:
        n = math.ceil(n * 1.1)
    return n


def _side(seen: Paired, tolerance: Tolerance) -> str:
    """Return which side the observed loss is on. Of a source that is never right there is none."""
    loss = seen.loss(tolerance.unit)
    return FAIL if loss > tolerance.value else PASS


def _by_share(
    drawn: Resamples, reference: Score, interval: tuple[float, float], tolerance: Tolerance, confidence: float
) -> Drop:
    """Judge where resamples hold too little: even if each image that could differ lost all, as many may.

    The largest share of images that could differ is exact (Clopper and Pearson).
    """
    unit = unit_of(reference, tolerance)
    whole = 1.0 if reference.unit == "fraction" else 100.0
    bounded = reference.unit in ("fraction", "percent") and reference.scale is None and unit > 0.0
    if bounded:
        share = clopper_pearson(drawn.differ, drawn.images, 2.0 * (1.0 - confidence))[1]
        if share * whole / unit <= tolerance.value:
            more = f"{drawn.differ} of {drawn.images} images differ, at most {share:.2%} could"
            return Drop(PASS, (interval[0], share * whole / unit), more=more)
    n = drawn.images + 1
    wanted = None
    if bounded and drawn.differ == 0:
        most = min(1.0, tolerance.value * unit / whole)
        wanted = None if most <= 0.0 else max(n, math.ceil(math.log(1.0 - confidence) / math.log1p(-min(most, 0.999))))
    more = f"{drawn.differ} of {drawn.images} images differ, too few to draw them again"
    return Drop(INCONCLUSIVE, (-math.inf, math.inf), wanted, more)


def _needed_images(n: int, loss: float, interval: tuple[float, float], limit: float) -> int | None:
    """Return about how many images would settle it: bounds come nearer as one over the root of their number."""
    near = interval[1] - loss if loss <= limit else loss - interval[0]
    away = abs(limit - loss)
    if away <= 0.0 or not math.isfinite(near):
        return None
    wanted = math.ceil(n * (near / away) ** 2)
    return max(n + 1, wanted) if wanted <= MOST_NEEDED else None
