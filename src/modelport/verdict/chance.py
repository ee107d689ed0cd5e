"""What chance gives too: figures of whoever guesses, and the agreement of two who answer by themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping

from modelport.core.values import Check
from modelport.tasks.scoring import Figures, Score
from modelport.verdict.binomial import at_least
from modelport.verdict.words import INCONCLUSIVE, PASS

AGREEMENT = "agreement_explained"  # the check's name
ABOVE_CHANCE = "_above_chance"  # how names of checks end
# How likely chance, or sampling, may be to look as good or as bad as what was found.
SIGNIFICANCE = 0.01
# A figure from 0 to 1 that is not above this has found nothing (mAP of boxes that meet none).
NOTHING_FOUND = 0.001


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
    return at_least(round(score.value * score.n / 100.0), score.n, chance / 100.0) < SIGNIFICANCE


def agreement_above_chance(figures: Figures) -> Check | None:
    """Hold how many answers are the source's against two models that answer by themselves.

    These meet where both happen to name the same class: the sum over the classes of the product of the shares with
    which each names it. Two models that answer nearly always the same class agree without having anything in common.
    """
    share, of = figures.agreement_by_chance, figures.flips.of
    if share is None or not of:
        return None
    met, expected = 100.0 * figures.flips.met / of, 100.0 * share
    if at_least(round(figures.flips.met), of, share) < SIGNIFICANCE:
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
    chance = at_least(round(of - met), of, 1.0 - floor / 100.0)
    if share >= floor or chance >= SIGNIFICANCE:
        return Check(AGREEMENT, PASS, share, floor, f"{precision} explains what differs")
    why = f"{share:.4g} % of the answers are the source's, {precision} explains {floor:g} % and more: "
    return Check(AGREEMENT, INCONCLUSIVE, share, floor, why + "this may be another model")
