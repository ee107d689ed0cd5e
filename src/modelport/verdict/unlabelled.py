"""What a verdict rests on where no label was looked at: the agreement with the source, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from modelport.core.values import Check
from modelport.recipes.schema import Recipe
from modelport.tasks.base import judged_metrics
from modelport.verdict.chance import AGREEMENT
from modelport.verdict.rules import (
    FAIL,
    INCOMPLETE,
    INCONCLUSIVE,
    NOT_APPLICABLE,
    Evidence,
    judge_samples,
)

NO_LABELS = "labels were not looked at"


def judge_unlabelled(recipe: Recipe, evidence: Evidence, sound: Iterable[Check]) -> list[Check]:
    """Return the checks, those of soundness among them.

    Beside labels an agreement that the precision does not explain only casts doubt on the figures. Without them it is
    all that is known of the port, and fails it; where the source's answers are missing, nothing is known.
    """
    checks = [
        replace(check, verdict=FAIL) if (check.name, check.verdict) == (AGREEMENT, INCONCLUSIVE) else check
        for check in sound
    ]
    if AGREEMENT not in {check.name for check in checks}:
        why = "the source gave no answer that could be met"
        if evidence.source is None:
            why = "there is no source model to hold the answers against: --weights or --source FILE.onnx brings one"
        checks.append(Check(AGREEMENT, INCOMPLETE, None, None, why))
    checks += [
        Check(f"{name}_vs_source", NOT_APPLICABLE, None, None, f"does not apply: {NO_LABELS}")
        for name in judged_metrics(recipe)
    ]
    return checks + judge_samples(evidence)
