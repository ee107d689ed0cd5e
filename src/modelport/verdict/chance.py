"""What chance gives too: figures of whoever guesses, and the agreement of two who answer by themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from modelport.core.values import Check
from modelport.tasks.scoring import Figures, Score
from modelport.verdict.words import INCONCLUSIVE, PASS

AGREEMENT = "agreement_explained"  # the check's name
ABOVE_CHANCE = "_above_chance"  # how names of checks end
# How likely chance, or sampling, may be to look as good or as bad as what was found.
SIGNIFICANCE = 0.01
# A figure from 0 to 1 that is not above this has found nothing (mAP of boxes that meet none).
NOTHING_FOUND = 0.001


def binomial_tail(hits: int, n: int, share: float) -> float:
    """Return P(X ≥ hits) for X binomial(n, share), summed in logarithms.

    Exact but for rounding; https://en.wikipedia.org/wiki/Binomial_distribution.
    """
    if hits <= 0 or share >= 1.0:
        return 1.0
    if share <= 0.0:
        return 0.0
    counts = np.arange(hits, n + 1)
    logs = np.array([math.lgamma(k + 1) + math.lgamma(n - k + 1) for k in counts.tolist()])
    terms = math.lgamma(n + 1) - logs + counts * math.log(share) + (n - counts) * math.log1p(-share)
    return float(min(1.0, np.exp(terms).sum()))


def above_chance(name: str, chance: float, figures: Figures) -> Check:
    """Hold a figure, the engine's and the source's, against what guessing gives; ``chance`` in the figure's unit."""
    whose: Mapping[str, Score | None] = {
        "the engine's": figures.metrics.get(name),
        "the source's": (figures.source or {}).get(name),
    }
    at_chance = [who for who, score in whose.items() if score is not None and not beats(score, chance)]
    got = figures.metrics.get(name)
    value = None if got is None else got.value
    if not at_chance:
        return Check(name + ABOVE_CHANCE, PASS, value, chance, "better than guessing")
    why = f"{' and '.join(at_chance)} {name} cannot be told from guessing ({chance:.3g}): look at the labels' "
    why += "numbering, the preprocessing and the weights, which source and engine share"
    return Check(name + ABOVE_CHANCE, INCONCLUSIVE, value, chance, why)


def beats(score: Score, chance: float) -> bool:
    if not math.isfinite(score.value):
        return False
    if score.unit != "percent":
        return score.value > max(chance, NOTHING_FOUND)
    return binomial_tail(round(score.value * score.n / 100.0), score.n, chance / 100.0) < SIGNIFICANCE


def agreement_above_chance(figures: Figures) -> Check | None:
    """Hold how many answers are the source's against two models that answer by themselves.

    These meet where both happen to name the same class: the sum over the classes of the product of the shares with
    which each names it. Two models that answer nearly always the same class agree without having anything in common.
    """
    share, of = figures.agreement_by_chance, figures.flips.of
    if share is None or not of:
        return None
    met, expected = 100.0 * figures.flips.met / of, 100.0 * share
    if binomial_tail(round(figures.flips.met), of, share) < SIGNIFICANCE:
        return Check(f"agreement{ABOVE_CHANCE}", PASS, met, expected, "answers follow the source's")
    why = f"{met:.4g} % of the answers are the source's, {expected:.3g} % would be by chance, had both answered by "
    why += "themselves: nothing shows that one model is the other"
    return Check(f"agreement{ABOVE_CHANCE}", INCONCLUSIVE, met, expected, why)


def agreement(figures: Figures, floors: Mapping[str, float], precision: str | None) -> Check | None:
    """Hold the share of the source's answers against what the precision can explain."""
    floor = floors.get(precision or "", min(floors.values()))
    met, of = figures.flips.met, figures.flips.of
    if not of:
        return None
    share = 100.0 * met / of
    # As many disagreements or more, were the floor the truth.
    chance = binomial_tail(round(of - met), of, 1.0 - floor / 100.0)
    if share >= floor or chance >= SIGNIFICANCE:
        return Check(AGREEMENT, PASS, share, floor, f"{precision} explains what differs")
    why = f"{share:.4g} % of the answers are the source's, {precision} explains {floor:g} % and more: "
    return Check(AGREEMENT, INCONCLUSIVE, share, floor, why + "this may be another model")
