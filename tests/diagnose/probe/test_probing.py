"""What explains is named, and what does not is not: on made answers, of which the truth is known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from modelport.core.errors import DataError
from modelport.core.values import Array, RowId
from modelport.diagnose.asking import Answers
from modelport.diagnose.changes.table import changed_recipes
from modelport.diagnose.probe.halving import FIRST, KEPT
from modelport.diagnose.probe.information import information
from modelport.diagnose.probe.mending import mending_lines
from modelport.diagnose.probe.paired import Gains
from modelport.diagnose.probe.probing import Findings, Question, probed
from modelport.diagnose.probe.tally import By, Tally
from modelport.diagnose.probe.telling import findings_json, notes_of
from modelport.diagnose.probe.trials import Answering
from modelport.recipes.schema import Recipe
from modelport.tasks.judged import Floats
from modelport.tasks.table import task_of

CLASSES = 10
Name = tuple[str, str]


@dataclass
class Made(Answering):
    """Answers made of labels: under a change the scores of the true class stand out by so much."""

    strength: Callable[[Name], float]  # by how much the label's score is above the noise
    count: int = 256
    classes: int = CLASSES
    seed: int = 0
    noise: float = 0.6  # of the scores, apart for each change; what all share has a deviation of 1
    answered: Callable[[Array], Array] = lambda labels: labels  # the class that a label is answered as
    of: Callable[[Array], Array] = lambda scores: scores
    taken: dict[Name, int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return self.count

    def truth(self) -> Array:
        return np.random.default_rng(self.seed).integers(0, self.classes, self.count)

    def extend(self, tallies: Sequence[Tally], stop: int) -> None:
        labels, shared = self.truth(), np.random.default_rng(self.seed + 1).normal(0, 1, (self.count, self.classes))
        for tally in tallies:
            change = tally.changed.change
            name = change.kind, change.value
            if (strength := self.strength(name)) < 0:
                tally.failed = "no such image"
                continue
            rng = np.random.default_rng([self.seed, len(name[0]), *name[1].encode()])
            scores = shared + rng.normal(0, self.noise, shared.shape)
            scores[np.arange(self.count), self.answered(labels)] += strength
            rows = slice(tally.n, stop)
            ids = [RowId(str(row)) for row in range(tally.n, stop)]
            outputs = {tally.changed.recipe.tensors.outputs[0].name: self.of(scores[rows])}
            tally.take(Answers(ids, labels[rows].tolist(), outputs), Answers(ids, [], {"source": labels[rows]}))
            self.taken[name] = stop


def ask(
    recipe: Recipe,
    made: Made,
    by: By = "labels",
    reference: Callable[[int], Floats] | None = None,
    published: float | None = None,
) -> tuple[Findings, Question]:
    changes = changed_recipes(recipe, task_of(recipe))
    question = Question(recipe, changes, by, task_of, published)
    return probed(question, made, reference), question


def better(*names: Name, by: float = 3.0, base: float = 1.0) -> Callable[[Name], float]:
    return lambda name: by if name in names else base


def best_of(findings: Findings) -> Name | None:
    best = findings.found.best
    return None if best is None else (best.tally.changed.change.kind, best.tally.changed.change.value)


@pytest.mark.parametrize("name", [("channel_order", "BGR"), ("mean_std", "half"), ("layout", "NHWC bytes")])
def test_the_one_change_that_helps_is_named(tiny: Recipe, name: Name) -> None:
    findings, question = ask(tiny, Made(better(name)))
    assert best_of(findings) == name and not findings.found.alike
    told = findings_json(tiny, question, findings)["explanation"]
    assert (told["change"], told["value"]) == name
    best = findings.found.best
    assert told["sentence"] and best is not None and best.delta is not None and best.interval is not None
    assert best.delta > 20 and 0 < best.interval[0] < best.delta < best.interval[1]
    assert bool(told["lines"]) != bool(told["mend"])


@pytest.mark.parametrize("seed", range(6))
def test_of_a_healthy_recipe_nothing_explains(tiny: Recipe, seed: int) -> None:
    findings, question = ask(tiny, Made(better(base=2.0), seed=seed))
    told = findings_json(tiny, question, findings)
    assert told["explanation"] is None and told["confidence"] == 0.95
    assert len(told["tried"]) > 30
    # Near settings that answer as well are told.
    whole = [row for row in told["tried"] if row.get("n") == 256]
    assert {row["change"] for row in told["as_good"]} <= {row["change"] for row in whole} and told["as_good"]


def test_without_opencv_its_interpolations_are_said_to_be_untried(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "OpenCV's interpolations were not tried"
    findings, question = ask(tiny, Made(better(base=2.0)))
    assert not any(said in note for note in notes_of(question, findings))
    monkeypatch.setitem(sys.modules, "cv2", None)
    findings, question = ask(tiny, Made(better(base=2.0)))
    assert any(said in note for note in notes_of(question, findings))
    tried = {(row.tally.changed.change.kind, row.tally.changed.change.value) for row in findings.found.rows}
    assert ("interpolation", "nearest") in tried and ("interpolation", "opencv_linear") not in tried


def test_what_cannot_be_told_apart_is_told_as_a_set(tiny: Recipe) -> None:
    names = ("crop_ratio", "0.9"), ("crop_ratio", "0.95"), ("resize", "squash")
    findings, question = ask(tiny, Made(better(*names, by=2.5), noise=0.1))
    told = {best_of(findings)} | {
        (row.tally.changed.change.kind, row.tally.changed.change.value) for row in findings.found.alike
    }
    assert told == set(names)
    assert "cannot be told from it" in findings_json(tiny, question, findings)["explanation"]["sentence"]


def test_halving_gives_the_many_few_samples_and_the_few_all(tiny: Recipe) -> None:
    made = Made(better(("divide", "1")))
    ask(tiny, made)
    counts = sorted(made.taken.values())
    assert counts[0] == FIRST and counts[-1] == made.n
    assert counts.count(made.n) == KEPT + 1  # and the recipe as it is
    whole = len(counts) * made.n
    assert sum(counts) < 0.4 * whole


@pytest.mark.parametrize("offset", [-1, 1])
def test_labels_that_are_one_off(tiny: Recipe, offset: int) -> None:
    made = Made(lambda name: 3.0, answered=lambda labels: np.clip(labels + offset, 0, CLASSES - 1), classes=CLASSES)
    findings, question = ask(tiny, made)
    assert best_of(findings) == ("label_offset", str(offset))
    told = findings_json(tiny, question, findings)["explanation"]
    assert told["lines"] == (["[dataset]", "label_offset = 1"] if offset == 1 else [])
    assert told["mend"] == (None if offset == 1 else "take 1 off every label")


def test_classes_in_another_order(tiny: Recipe) -> None:
    words = sorted(range(1, 13), key=str)
    wide = tiny.model_copy(
        update={
            "dataset": tiny.dataset.model_copy(update={"classes": 12}),
        }
    )
    order = np.array([words.index(label + 1) for label in range(12)])
    findings, _ = ask(wide, Made(lambda name: 3.0, classes=12, answered=lambda labels: order[labels]))
    assert best_of(findings) == ("class_order", "as text from 1")
    random = np.random.default_rng(5).permutation(12)
    findings, question = ask(wide, Made(lambda name: 3.0, classes=12, answered=lambda labels: random[labels]))
    assert best_of(findings) == ("class_order", "permutation")
    assert "learned from the answers" in findings_json(wide, question, findings)["explanation"]["sentence"]


def test_softmax_twice_is_told_by_the_scores(tiny: Recipe) -> None:
    def softmax(scores: Array) -> Array:
        exp = np.exp(2 * scores)
        shares: Array = exp / exp.sum(axis=1, keepdims=True)
        return shares

    findings, question = ask(tiny, Made(lambda name: 3.0, of=lambda scores: softmax(softmax(scores) / 2)))
    assert findings.twice and best_of(findings) == ("softmax", "once")
    assert "applied twice" in findings_json(tiny, question, findings)["explanation"]["sentence"]
    findings, _ = ask(tiny, Made(lambda name: 3.0, of=softmax))
    assert not findings.twice and best_of(findings) is None


def test_without_labels_confidence_ranks_and_proves_little(tiny: Recipe) -> None:
    findings, question = ask(tiny, Made(better(("mean_std", "half"), by=8.0)), by="confidence")
    assert best_of(findings) is None  # a louder input is surer in any case
    notes = notes_of(question, findings)
    assert any("no labels and no source" in note for note in notes)
    assert any("by confidence alone" in note and "mean_std = half" in note for note in notes)
    findings, question = ask(tiny, Made(better(("channel_order", "BGR"), by=8.0)), by="confidence")
    assert best_of(findings) == ("channel_order", "BGR")
    assert not any(row.tally.changed.change.target for row in findings.found.rows)


def test_a_change_that_leaves_most_of_the_gap_to_the_source_explains_nothing(tiny: Recipe) -> None:
    made = Made(better(("divide", "1"), by=1.8))

    def reference(n: int) -> Floats:
        return np.full(n, 0.95)

    findings, question = ask(tiny, made, reference=reference)
    assert best_of(findings) is None and [row.name for row in findings.found.partly] == ["divide = 1"]
    assert any("most of the gap stays" in note for note in notes_of(question, findings))
    findings, _ = ask(tiny, Made(better(("divide", "1"), by=6.0)), reference=reference)
    assert best_of(findings) == ("divide", "1")


def test_of_a_figure_that_may_be_the_published_one_nothing_is_explained(tiny: Recipe) -> None:
    made = better(("divide", "1"), by=3.0, base=1.8)
    found, question = ask(tiny, Made(made))
    assert best_of(found) == ("divide", "1") and found.base.metric is not None
    have = found.base.metric.value
    assert best_of(ask(tiny, Made(made), published=have + 1)[0]) is None
    assert best_of(ask(tiny, Made(made), published=have + 25)[0]) == ("divide", "1")
    far, question = ask(tiny, Made(better(("divide", "1"), by=1.6, base=1.0)), published=99.9)
    assert best_of(far) is None and any("most of the gap stays" in note for note in notes_of(question, far))


def test_a_change_that_cannot_be_answered_is_given_up_and_said(tiny: Recipe) -> None:
    findings, question = ask(tiny, Made(lambda name: -1.0 if name == ("divide", "1") else 1.0))
    assert any("divide = 1 (no such image)" in note for note in notes_of(question, findings))
    assert {"why": "no such image"}.items() <= next(
        row for row in findings_json(tiny, question, findings)["tried"] if row["change"] == "divide"
    ).items()


def test_information_looks_at_no_temperature_and_at_no_row_that_is_none() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 5, 300)
    logits = rng.normal(0, 1, (300, 5))
    logits[np.arange(300), targets] += 2.0
    base = information(logits, targets)
    assert np.allclose(information(1000 * logits, targets).losses, base.losses)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(information(probabilities, targets).losses, base.losses)
    logits[3], targets[4] = np.nan, -1
    told = information(logits, targets)
    assert (told.shares[[3, 4]] == 0).all()
    # The oracle: the best of all temperatures, by a fine grid, a tenth of each probability spread evenly.
    rows, wanted = np.delete(logits, [3, 4], axis=0), np.delete(targets, [3, 4])
    grid = []
    for beta in np.linspace(0.1, 4, 400):
        share = np.exp(beta * rows[np.arange(298), wanted]) / np.exp(beta * rows).sum(axis=1)
        grid.append(float(np.mean(-np.log(0.9 * share + 0.02))))
    assert float(np.delete(told.losses, [3, 4]).mean()) == pytest.approx(min(grid), abs=1e-3)


def test_the_paired_test_is_students() -> None:
    # t = 3.5 with 29 degrees of freedom has a one-sided p of 0.00076 (tables); here 30 samples that all differ.
    rng = np.random.default_rng(1)
    each = rng.normal(0, 0.1, 30)
    each = (each - each.mean()) / each.std(ddof=1)
    gains = Gains(0.1 * (each + 3.5 / np.sqrt(30) * np.sqrt(30 / 29)))
    assert gains.p_value() == pytest.approx(0.00076, rel=0.05)
    low, high = gains.interval(0.05)
    assert low == pytest.approx(gains.points - 2.0452 * gains.stderr * np.sqrt(30 / 29), rel=1e-3)
    assert high - gains.points == pytest.approx(gains.points - low)
    assert Gains(np.zeros(50)).p_value() > 0.5
    # None of 50 differs: at most as many as the binomial allows could.
    assert Gains(np.zeros(50)).interval(0.2)[1] == pytest.approx(100 * (1 - 0.05 ** (1 / 50)), rel=1e-3)


def test_right_and_wrong_answers_are_counted_exactly() -> None:
    rng, missed = np.random.default_rng(3), 0
    for _ in range(400):
        base, other = (rng.random((2, 40)) < [[0.5], [0.6]]).astype(float)
        low, high = Gains.of(base, other).interval(0.1)
        missed += not low <= 10.0 <= high
    assert missed <= 40
    # Nine gained and one lost: the sign test's eleven of 1024.
    each = np.r_[np.ones(9), -np.ones(1), np.zeros(30)]
    assert Gains(each).p_value() == pytest.approx(11 / 1024)


def test_seldom_is_anything_shown_of_answers_that_are_equally_good() -> None:
    rng = np.random.default_rng(7)
    shown = sum(Gains.of(*rng.beta(0.5, 0.5, (2, 64))).p_value() <= 0.01 for _ in range(1500))
    assert shown / 1500 < 0.016


def test_lines_that_mend_are_those_that_differ(tiny: Recipe) -> None:
    dataset = tiny.dataset.model_copy(update={"label_offset": 1})
    assert mending_lines(tiny, tiny.model_copy(update={"dataset": dataset})) == ["[dataset]", "label_offset = 1"]
    assert mending_lines(tiny, tiny) == []


def test_a_few_samples_can_show_nothing(tiny: Recipe) -> None:
    findings, question = ask(tiny, Made(better(("divide", "1"), by=9.0), count=7))
    assert findings.untold and best_of(findings) is None
    assert any("7 samples are too few" in note for note in notes_of(question, findings))


def test_answers_that_are_no_numbers_are_told(tiny: Recipe) -> None:
    def broken(scores: Array) -> Array:
        return np.where(np.arange(len(scores))[:, None] % 32 == 5, np.nan, scores)

    findings, question = ask(tiny, Made(better(base=2.0), of=broken))
    assert any("8 of 256 answers hold NaN" in note for note in notes_of(question, findings))
    findings, question = ask(tiny, Made(better(base=2.0)))
    assert not any("NaN" in note for note in notes_of(question, findings))


def test_a_recipe_that_cannot_be_answered_as_it_is_is_an_error(tiny: Recipe) -> None:
    class Broken(Answering):
        n = 4

        def extend(self, tallies: Sequence[Tally], stop: int) -> None:
            raise DataError("nothing is read", "mend it")

    with pytest.raises(DataError):
        probed(Question(tiny, [], "labels", task_of), Broken())
