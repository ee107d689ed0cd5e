"""Which single change explains the gap of a model's answers: tried by runs, held against the recipe as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modelport.diagnose.changes.base import AS_IT_IS, Change
from modelport.diagnose.changes.labels import OFFSET, ORDER, permutation_change
from modelport.diagnose.changes.outputs import SOFTMAX
from modelport.diagnose.changes.table import Changed
from modelport.diagnose.probe.explaining import Explained, Reference, explained, row_of
from modelport.diagnose.probe.halving import FIRST, FIRST_OF_PAIRS, halve, rounds
from modelport.diagnose.probe.tally import By, ClassTally, Earned, LineTally, Tally
from modelport.diagnose.probe.trials import Answering
from modelport.diagnose.scores import Kind, kind_of
from modelport.recipes.schema import Recipe
from modelport.tasks.answered import half_of
from modelport.tasks.base import Task
from modelport.tasks.classification.task import Classification
from modelport.tasks.judged import Floats

# What is told of settings that say nothing where there are no labels.
OF_LABELS = (OFFSET, ORDER)
# Arithmetic that makes inputs wider makes answers surer, right or wrong.
LOUDER = ("divide", "mean_std", "dtype")
# Of fewer samples the quantile's expansion (``verdict.bootstrap.student``) is too small at the levels that many tests
# ask for: at 1e-5 it errs in 1.2e-5 of 16 samples, and in 2.2e-5 of 8.
FEWEST = 16
# The rise of the mean confidence, in points, from which on it is named without labels: chosen, and large, for healthy
# changes of the input move it too.
LEAST_SURER = 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of which model, on what, held against what."""

    recipe: Recipe
    changes: Sequence[Changed]
    by: By
    task: Callable[[Recipe], Task]  # with the data set's categories
    published: float | None = None  # the deciding figure, in percent, where it is of these weights and samples


@dataclass(slots=True)
class Findings:
    """What was found out."""

    base: Earned
    found: Explained
    n: int
    base_tally: Tally
    failed: list[tuple[Change, str]] = field(default_factory=list)
    untouched: list[Change] = field(default_factory=list)  # those that make the very same inputs of these samples
    twice: bool = False  # softmax, told by the scores
    untold: str = ""  # why nothing can be told; empty where something can


def probed(question: Question, answering: Answering, reference: Callable[[int], Floats] | None = None) -> Findings:
    """Try the changes and return which explains the gap. ``reference`` (n) gives what a source earns of so many.

    Raises ModelportError where the recipe as it is cannot be answered.
    """
    base = tally_of(question, Changed(AS_IT_IS, question.recipe))
    tallies = [tally_of(question, changed) for changed in question.changes if _applies(question, changed.change)]
    pairs = question.recipe.dataset.views > 1
    first = FIRST_OF_PAIRS if pairs else FIRST
    halve(answering, base, tallies, first)
    earned = replace(base.earned(), metric=base.figure())
    if not earned.of:
        without = "without labels and a source, " if question.by == "confidence" else ""
        why = f"{without}no sample of the task {question.recipe.task} tells by itself how well it was answered"
        return Findings(earned, Explained([]), base.n, base, untold=why)
    twice = isinstance(base, ClassTally) and kind_of(base.scores) is Kind.TWICE
    moved = [tally for tally in tallies if not tally.failed and not tally.same and (twice or not _softmax(tally))]
    learned = _learned(question, base)
    tests = (len(moved) + (learned is not None)) * rounds(base.n, first)
    # Figures that are no means of samples take long: those that took all samples are told them.
    whole = {tally: replace(tally.earned(), metric=tally.figure()) for tally in moved if tally.n == base.n}
    rows = [row_of(earned, tally, told, tests) for tally, told in whole.items()]
    rows += [row_of(base.earned(tally.n), tally, tally.earned(), tests) for tally in moved if tally not in whole]
    held = Reference(None if reference is None else reference(base.n), question.published)
    found = explained(rows, earned, held)
    if learned is not None:
        # Its samples are half of the others': the two are not held against each other.
        row = row_of(learned.base, learned.tally, learned.earned, tests)
        best = row if found.best is None and row.certain else found.best
        found = replace(found, rows=[*found.rows, row], best=best)
    if twice and found.best is None:
        found = replace(found, best=next((row for row in found.rows if _softmax(row.tally)), None))
    findings = Findings(earned, _believed(question, found), base.n, base, twice=twice)
    if base.n < FEWEST:
        findings.found = replace(findings.found, best=None, alike=(), partly=())
        findings.untold = f"{base.n} samples are too few to show anything of {len(rows)} changes: give {FEWEST} or more"
    findings.failed = [(tally.changed.change, tally.failed) for tally in tallies if tally.failed]
    findings.untouched = [tally.changed.change for tally in tallies if tally.same and not tally.failed]
    return findings


def tally_of(question: Question, changed: Changed) -> Tally:
    """Return an empty tally of the task's kind."""
    task = question.task(changed.recipe)
    if isinstance(task, Classification):
        return ClassTally(changed, task.deciding, question.by)
    return LineTally(changed, task, question.by)


def _softmax(tally: Tally) -> bool:
    return tally.changed.change.kind == SOFTMAX


def _applies(question: Question, change: Change) -> bool:
    """Whether a change can be told by what answers are held against."""
    if question.by == "labels":
        return True
    if question.by == "confidence":
        return change.kind not in OF_LABELS and change.outputs is None and change.placement is None
    return change.outputs is not None or change.kind not in OF_LABELS


@dataclass(frozen=True, slots=True)
class _Learned:
    """A permutation of the classes, learned from one half of the samples, and what the other half earns."""

    tally: ClassTally
    earned: Earned
    base: Earned


def _learned(question: Question, base: Tally) -> _Learned | None:
    if question.by != "labels" or not isinstance(base, ClassTally) or not base.n:
        return None
    offset, halves = question.recipe.dataset.label_offset, np.array([half_of(row) for row in base.ids])
    labels, answers = np.array(base.targets) - offset, base.scores.argmax(axis=1)
    learn, test = np.flatnonzero((halves == 0) & (labels >= 0)), np.flatnonzero(halves == 1)
    change = permutation_change([base.ids[row] for row in learn], labels[learn].tolist(), answers[learn], offset)
    if change is None or change.target is None or not len(test):
        return None
    moved = np.array([change.target(label) + offset if label >= 0 else -1 for label in labels.tolist()], np.int64)
    tally = ClassTally(Changed(change, question.recipe), question.task(question.recipe).deciding, question.by)
    tally.n = len(test)
    return _Learned(tally, base.under(moved, test), base.under(np.array(base.targets, np.int64), test))


def _believed(question: Question, found: Explained) -> Explained:
    """Return what can be believed: without labels and source a louder input is surer, and nothing is proved by that."""
    best = found.best
    if question.by != "confidence" or best is None:
        return found
    if best.gain >= LEAST_SURER and best.tally.changed.change.kind not in LOUDER:
        return found
    return replace(found, best=None, alike=(), partly=[best, *found.alike])
