"""What a probe found, in words and in JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from modelport.core.text import listed
from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.constants import OPENCV_UNTRIED, opencv_is_there
from modelport.diagnose.changes.geometry import INTERPOLATION
from modelport.diagnose.changes.outputs import SOFTMAX
from modelport.diagnose.probe.explaining import CONFIDENCE, Row, confidence_of, resampled
from modelport.diagnose.probe.mending import mending_lines
from modelport.diagnose.probe.probing import Findings, Question
from modelport.diagnose.probe.tally import ClassTally, LineTally, Tally
from modelport.recipes.schema import Recipe

# Changes that a note names of each kind.
NAMED = 6
# Told by the scores alone, whatever the labels say.
TWICE = (
    "softmax is applied twice: the scores are what a softmax makes of sure probabilities (none of a row is more than e "
    "times another); which class is first does not hang on it, thresholds and log-loss do"
)
# What evidence is called in a sentence.
WORDS = {
    "information": "of what there is to know of the labels, the scores tell",
    "confidence": "the mean confidence is",
}


def findings_json(
    recipe: Recipe, question: Question, findings: Findings, mended: Recipe | None = None
) -> dict[str, Any]:
    """Return the keys of probe.json that tell what was found; ``mended``: a recipe for a change without one."""
    base, found = findings.base, findings.found
    evidence = {"of": base.of or None, "mean": 100.0 * float(base.evidence.mean()) if len(base.evidence) else None}
    metric = None if base.metric is None else base.metric.to_json() | {"name": metric_name(question)}
    tried = [row.to_json() for row in found.rows]
    nothing = [(change, "makes the same input of these samples") for change in findings.untouched]
    tried += [nothing_came(change, why) for change, why in [*nothing, *findings.failed]]
    best = found.best
    explanation = None
    if best is not None:
        change = best.tally.changed.change
        explanation = {
            "change": change.kind,
            "value": change.value,
            "sentence": sentence(question, findings, best),
            "alike": [row.to_json() for row in found.alike],
            "lines": mending_lines(recipe, mended or best.tally.changed.recipe),
            "mend": change.mend or None,
        }
    return {
        "baseline": {"metric": metric, "log_loss": base.log_loss, "evidence": evidence, "n": findings.n}
        | {"published": question.published},
        "tried": tried,
        "as_good": [{"change": change.kind, "value": change.value} for change in as_good(findings)],
        "explanation": explanation,
        # What the scores tell by themselves hangs on no sample.
        "confidence": 1.0 if findings.twice and best is not None and _is_softmax(best) else confidence_of(found),
    }


def as_good(findings: Findings) -> list[Change]:
    """Return the changes that all samples cannot tell from the recipe as it is: it may as well be written so."""
    whole = [row for row in findings.found.rows if row.tally.n == findings.n]
    undecided = [row for row in whole if row.gain_interval[0] <= 0.0 <= row.gain_interval[1]]
    return [row.tally.changed.change for row in undecided] + findings.untouched


def _is_softmax(row: Row) -> bool:
    return row.tally.changed.change.kind == SOFTMAX


def nothing_came(change: Change, why: str) -> dict[str, Any]:
    """Return the row of a change of which nothing came."""
    return {"change": change.kind, "value": change.value, "metric": None, "delta": None, "interval": None, "why": why}


def metric_name(question: Question) -> str:
    """Return what the deciding figure is called."""
    return "source_agreement" if question.by == "agreement" else question.task(question.recipe).deciding


def sentence(question: Question, findings: Findings, row: Row) -> str:
    """Return what explains the gap, and by how much."""
    change, n = row.tally.changed.change, len(row.earned.evidence)
    told = [f"{change.sentence}: with {change.kind} = {change.value}"]
    if row.earned.metric is not None and row.delta is not None:
        between = "" if row.interval is None else f", between {row.interval[0]:+.1f} and {row.interval[1]:+.1f}"
        name = metric_name(question)
        told.append(f"{name} is {row.earned.metric.value:.4g} ({row.delta:+.1f} points{between}) on {n} samples")
    low, high = row.gain_interval
    if row.earned.of in WORDS:
        told.append(f"{WORDS[row.earned.of]} {row.gain:+.1f} points more (between {low:+.1f} and {high:+.1f})")
    text = f"{told[0]} {'; '.join(told[1:])}"
    if findings.twice and _is_softmax(row):
        text = f"{TWICE}; {text}"
    if findings.found.alike:
        text += f"; {listed((other.name for other in findings.found.alike), NAMED)} cannot be told from it"
    return text


def notes_of(question: Question, findings: Findings) -> list[str]:
    """Return what is to be said of the trials."""
    found, notes = findings.found, list[str]()
    if findings.untold:
        notes.append(f"nothing can be told: {findings.untold}")
    if not findings.found.rows:
        return notes
    if broken := _not_finite(findings.base_tally):
        notes.append(f"{broken} of {findings.n} answers hold NaN or infinity, and count as wrong")
    tried = sum(not row.tally.failed for row in found.rows)
    notes.append(
        f"{tried} changes were tried; every interval holds at {CONFIDENCE:.0%} for all of them together (Bonferroni), "
        "whenever a change stopped taking samples"
    )
    if found.best is not None and found.best.interval is not None and findings.base.values is None:
        notes.append(f"but that of {metric_name(question)}, by resamples, holds at {CONFIDENCE:.0%} by itself")
    if not opencv_is_there() and any(row.tally.changed.change.kind == INTERPOLATION for row in found.rows):
        notes.append(OPENCV_UNTRIED)
    if question.by == "agreement":
        notes.append("no labels: what explains is told by the agreement with the source alone")
    if question.by == "confidence":
        notes.append(
            "no labels and no source: confidence alone ranks the changes. It shows no change to be right, and what "
            "makes the inputs wider makes answers surer in any case; give --labels, or a --source beside --model"
        )
    if findings.twice and (found.best is None or not _is_softmax(found.best)):
        notes.append(TWICE)
    if found.best is None and found.partly:
        names = listed((row.name for row in found.partly), NAMED)
        why = (
            "by confidence alone"
            if question.by == "confidence"
            else "for certain, and most of the gap stays, or is none"
        )
        notes.append(f"better {why}: {names}")
    if not findings.untold and found.best is None and (told := as_good(findings)):
        names = listed((f"{change.kind} = {change.value}" for change in told), NAMED)
        notes.append(f"{findings.n} samples cannot tell from the recipe as it is: {names}")
    if findings.untouched:
        names = listed((f"{change.kind} = {change.value}" for change in findings.untouched), NAMED)
        notes.append(f"no difference to these samples: {names}")
    if findings.failed:
        names = listed((f"{change.kind} = {change.value} ({why})" for change, why in findings.failed), NAMED)
        notes.append(f"given up: {names}")
    return notes


def _not_finite(tally: Tally) -> int:
    """Return how many rows of a classifier's scores hold what is no number; 0 of another task."""
    return int((~np.isfinite(tally.scores).all(axis=1)).sum()) if isinstance(tally, ClassTally) else 0


def with_resampled(findings: Findings, seed: int) -> Findings:
    """Return the findings with intervals of figures that are no means, for those that explain: resamples take long."""
    best, base = findings.found.best, findings.base_tally
    if best is None or best.interval is not None or not isinstance(base, LineTally):
        return findings
    interval = resampled(base, best, seed)
    if interval is None:
        return findings
    told = replace(best, interval=interval)
    rows = [told if row is best else row for row in findings.found.rows]
    return replace(findings, found=replace(findings.found, rows=rows, best=told))
