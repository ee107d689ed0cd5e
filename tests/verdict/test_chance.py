"""What guessing gives too, and how often two meet who know nothing of each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from modelport.core.values import RowId
from modelport.tasks.answered import Answered
from modelport.tasks.scoring import Figures, Flips
from modelport.verdict.binomial import at_least
from modelport.verdict.chance import agreement_above_chance


def test_the_tail_is_the_binomials() -> None:
    for hits, n, share in (
        (0, 10, 0.1),
        (3, 10, 0.1),
        (31, 310, 0.1),
        (60, 310, 0.1),
        (700, 50_000, 0.01),
        (5, 5, 1.0),
    ):
        assert at_least(hits, n, share) == pytest.approx(binom.sf(hits - 1, n, share), rel=1e-6)


def _agreement(mine: list[int], theirs: list[int]) -> Figures:
    sides = Answered(), Answered()
    ids = [RowId(str(row)) for row in range(len(mine))]
    for side, answers in zip(sides, (mine, theirs), strict=True):
        side.take(ids, [0] * len(mine), np.array(answers))
    flips = Flips()
    for one, other in zip(mine, theirs, strict=True):
        flips.add(int(one == other), 1, {})
    return Figures({}, None, flips, agreement_by_chance=sides[0].share_by_chance(sides[1]))


def test_the_share_by_chance_is_the_mean_of_shuffled_answers() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.choice(4, 500, p=[0.6, 0.2, 0.1, 0.1]), rng.choice(4, 500, p=[0.5, 0.1, 0.1, 0.3])
    met = np.mean([(rng.permutation(mine) == theirs).mean() for _ in range(400)])
    assert _agreement(mine.tolist(), theirs.tolist()).agreement_by_chance == pytest.approx(met, abs=0.003)


def test_two_models_that_answer_nearly_always_the_same_class_have_nothing_in_common() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = (rng.choice(2, 400, p=[0.95, 0.05]).tolist() for _ in range(2))
    alone = agreement_above_chance(_agreement(mine, theirs))
    assert alone is not None and alone.verdict == "inconclusive" and alone.got > 85
    alike = agreement_above_chance(_agreement(mine, mine))
    assert alike is not None and alike.verdict == "pass"


def test_where_no_answers_meet_nothing_is_held() -> None:
    assert agreement_above_chance(Figures({}, None)) is None
