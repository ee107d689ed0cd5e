"""What a verdict rests on where no label was looked at: the agreement with the source, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from modelport.core.values import Check
from modelport.recipes.schema import Recipe
from modelport.tasks.base import judged_metrics
from modelport.verdict.binomial import clopper_pearson
from modelport.verdict.chance import AGREEMENT
from modelport.verdict.rules import Evidence, judge_missing
from modelport.verdict.words import FAIL, INCOMPLETE, INCONCLUSIVE, NOT_APPLICABLE, PASS

NO_LABELS = "labels were not looked at"


def judge_unlabelled(recipe: Recipe, evidence: Evidence, sound: Iterable[Check]) -> list[Check]:
    """Return the checks, those of soundness among them.

    Beside labels an agreement that the precision does not explain only casts doubt on the figures. Without them it is
    all that is known of the port, and decides; where the source's answers are missing, nothing is known.
    """
    checks = [_shown(check, evidence) if check.name == AGREEMENT else check for check in sound]
    if AGREEMENT not in {check.name for check in checks}:
        why = "the source gave no answer that could be met"
        if evidence.source is None:
            why = "there is no source model to hold the answers against: --weights or --source FILE.onnx brings one"
        checks.append(Check(AGREEMENT, INCOMPLETE, None, None, why))
    checks += [
        Check(f"{name}_vs_source", NOT_APPLICABLE, None, None, f"does not apply: {NO_LABELS}")
        for name in judged_metrics(recipe)
    ]
    return [*checks, *judge_missing(evidence)]


def _shown(check: Check, evidence: Evidence) -> Check:
    """Return the check with the interval of the share of samples that agree, exact, and what it shows.

    Boxes or pixels of one image hang together: each image counts once, by the share of it that agrees.
    """
    n, floor = evidence.n, float(check.want)
    hits = round(float(check.got) * n / 100.0)
    low, high = (100.0 * end for end in clopper_pearson(hits, n, 2.0 * (1.0 - evidence.confidence)))
    word = PASS if low >= floor else FAIL if high < floor else INCONCLUSIVE
    why = f"{check.got:.4g} % of the answers are the source's, the precision explains {floor:g} % and more; of all "
    why += f"samples between {low:.4g} and {high:.4g} % ({evidence.confidence:.0%} each way)"
    wanted = None
    if word == INCONCLUSIVE and check.got > floor:
        sizes = (math.ceil(n * 1.1**turn) for turn in range(1, 100))
        wanted = next((size for size in sizes if _least(check.got, size, evidence.confidence) >= floor), None)
    more = "" if wanted is None else f"; some {wanted} samples would settle it"
    return replace(check, verdict=word, why=why + more, interval=[low, high], needed_n=wanted)


def _least(share: float, n: int, confidence: float) -> float:
    """Return the lower bound, in percent, were ``share`` percent of so many samples the source's."""
    return 100.0 * clopper_pearson(round(share * n / 100.0), n, 2.0 * (1.0 - confidence))[0]
