"""Which change explains the gap: better for certain, however many were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelport.diagnose.probe.paired import Gains
from modelport.diagnose.probe.tally import Earned, LineTally, Tally
from modelport.tasks.judged import Floats
from modelport.tasks.scoring import Score
from modelport.verdict.binomial import clopper_pearson
from modelport.verdict.bootstrap import Resamples, bounds

CONFIDENCE = 0.95
# A gain of evidence, 0 to 1, below which nothing is called an explanation: near settings always differ a little,
# and with samples enough that is certain. Chosen: two points are less than most gaps that are looked for.
LEAST_GAIN = 0.02
# Of a gap to a reference that was measured on the same samples, an explanation closes at least so much: with less,
# most of it would stay unexplained.
LEAST_CLOSED = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """One change that was tried, against the recipe as it is on the same samples."""

    tally: Tally
    earned: Earned
    delta: float | None  # of the deciding metric, in points; a gain is positive
    interval: tuple[float, float] | None  # of it, all rows together
    gain: float  # of the evidence, in points
    gain_interval: tuple[float, float]
    p_value: float  # of no gain, corrected for all that were tried

    @property
    def certain(self) -> bool:
        """Whether it is better for certain, and by as much as matters."""
        worse = self.delta is not None and self.delta < 0
        return self.p_value <= 1.0 - CONFIDENCE and self.gain >= 100.0 * LEAST_GAIN and not worse

    @property
    def name(self) -> str:
        """The change, for people."""
        return f"{self.tally.changed.change.kind} = {self.tally.changed.change.value}"

    def to_json(self) -> dict[str, Any]:
        """Return it as probe.json holds it."""
        change, metric = self.tally.changed.change, self.earned.metric
        told: dict[str, Any] = {
            "change": change.kind,
            "value": change.value,
            "metric": None if metric is None else metric.value,
            "delta": self.delta,
            "interval": None if self.interval is None else list(self.interval),
            "n": self.tally.n,
            "evidence": {
                "of": self.earned.of,
                "delta": self.gain,
                "interval": list(self.gain_interval),
                "p_value": self.p_value,
            },
            "log_loss": self.earned.log_loss,
        }
        return told


@dataclass(frozen=True, slots=True)
class Explained:
    """What the trials say."""

    rows: Sequence[Row]  # the best first
    best: Row | None = None
    alike: Sequence[Row] = ()  # those that cannot be told from the best
    partly: Sequence[Row] = ()  # better for certain, and no explanation


def row_of(base: Earned, tally: Tally, earned: Earned, tests: int) -> Row:
    """Hold a change against the recipe as it is, on the same samples.

    ``tests`` are the changes that were tried, times the rounds after which each may have stopped: for so many every
    bound and p-value is corrected (Bonferroni).
    """
    shown = Gains.of(base.evidence, earned.evidence)
    delta = interval = None
    if base.values is not None and earned.values is not None:
        figures = Gains.of(base.values, earned.values)
        # Of two pieces of evidence the better one counts.
        tests *= 2 if earned.of == "information" else 1
        delta, interval, by_figures = figures.points, _interval(figures, tests), figures.p_value()
    else:
        by_figures = 1.0
        if base.metric is not None and earned.metric is not None:
            delta = points_of(base.metric) * (earned.metric.value - base.metric.value)
    p_value = min(1.0, tests * min(shown.p_value(), by_figures))
    return Row(tally, earned, delta, interval, shown.points, _interval(shown, tests), p_value)


def _interval(gains: Gains, tests: int) -> tuple[float, float]:
    """Return the bounds of a gain, corrected; where the test, the sharper of the two, shows one, none is below 0."""
    error = (1.0 - CONFIDENCE) / max(1, tests)
    low, high = gains.interval(error)
    return (max(0.0, low) if gains.p_value() <= error else min(0.0, low)), high


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known to be right: what another model ``earned`` (n,) of the same samples, a ``published`` percentage."""

    earned: Floats | None = None
    published: float | None = None

    def closed(self, base: Earned, earned: Earned) -> bool:
        """Whether a change closes most of the gap that there is; where nothing is known to be right, of any."""
        return self._to_published(base, earned) and self._to_source(base, earned)

    def _to_published(self, base: Earned, earned: Earned) -> bool:
        if self.published is None or base.metric is None or earned.metric is None:
            return True
        n, have = base.metric.n, base.metric.value
        most = 100.0 * clopper_pearson(round(have * n / 100.0), n, 2.0 * (1.0 - CONFIDENCE))[1]
        # Nothing is to be explained of a figure that may well be the published one.
        return most < self.published and earned.metric.value - have >= LEAST_CLOSED * (self.published - have)

    def _to_source(self, base: Earned, earned: Earned) -> bool:
        if self.earned is None:
            return True
        n = len(earned.evidence)
        right, mine = self.earned[:n], base.evidence[:n]
        if Gains.of(mine, right).p_value() > 1.0 - CONFIDENCE:
            return True  # no gap is sure: what mends the model mends its source as well
        return float((earned.evidence - mine).mean()) >= LEAST_CLOSED * float((right - mine).mean())


def explained(rows: Sequence[Row], base: Earned, reference: Reference) -> Explained:
    """Return which change explains the gap, or that none does."""
    # Those that took all samples first.
    ordered = sorted(rows, key=lambda row: (-row.tally.n, -row.gain))
    certain = [row for row in ordered if row.certain]
    closing = [row for row in certain if reference.closed(base, row.earned)]
    if not closing:
        return Explained(ordered, partly=certain)
    best = closing[0]
    near = [row for row in closing[1:] if row.tally.n == best.tally.n]
    alike = [row for row in near if not _told_apart(best, row, len(closing))]
    return Explained(ordered, best, alike)


def resampled(base: LineTally, row: Row, seed: int) -> tuple[float, float] | None:
    """Return the interval of a gain of a figure that is no mean of samples, at 95 %; None where lines tell none."""
    tally, metric = row.tally, row.earned.metric
    if not isinstance(tally, LineTally) or metric is None or row.delta is None:
        return None
    found, name = tally.recounted(base), tally.deciding
    if found is None or found.resampled is None:
        return None
    drawn = Resamples.of(found.resampled, seed)
    if name not in drawn.engine:
        return None
    losses = points_of(metric) * (drawn.source[name] - drawn.engine[name])
    low, high = bounds(losses, -row.delta, drawn.differ, 1.0 - (1.0 - CONFIDENCE) / 2.0)
    return (-high, -low) if math.isfinite(high - low) else None


def points_of(metric: Score) -> float:
    """Return how many points one unit of a figure is."""
    return 100.0 if metric.unit == "fraction" else 1.0


def _told_apart(best: Row, row: Row, several: int) -> bool:
    held = Gains.of(row.earned.evidence, best.earned.evidence)
    return held.p_value() <= (1.0 - CONFIDENCE) / several


def confidence_of(found: Explained) -> float:
    """Return how sure it is that the explanation is better, or at which level none was shown to be."""
    return CONFIDENCE if found.best is None else 1.0 - found.best.p_value
