"""Figures by class and confusions are those of a confusion matrix counted another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelport.core.values import RowId
from modelport.report.markdown import render
from modelport.report.result import NOTHING_RAN, Result, SourceFigures
from modelport.tasks.classification import per_class
from modelport.tasks.classification.per_class import ClassCounts
from modelport.tasks.classification.task import ClassScorer
from modelport.tasks.scoring import Figures, Rows
from oracles import torchmetrics

CLASSES, OFFSET = 6, 1
NAMES = tuple(f"label {label}" for label in range(CLASSES - OFFSET))


def _scored(n: int = 300, seed: int = 3) -> tuple[Figures, Any, Any, Any]:
    """Return the figures of seeded logits in pieces of 64, and labels, answers and the source's for a matrix."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES - OFFSET - 1, n)  # no image has the last label
    engine, source = (rng.normal(size=(n, CLASSES)).astype(np.float32) for _ in range(2))
    engine[np.arange(n), labels + OFFSET] += 1.0
    scorer = ClassScorer("o", CLASSES, OFFSET, True, ClassCounts(NAMES, OFFSET))
    for start in range(0, n, 64):
        part = slice(start, start + 64)
        ids = tuple(RowId(str(place)) for place in range(n))[part]
        # The source answered no more than the first 200.
        theirs = {"o": source[part]} if start < 192 else None
        scorer.take(Rows(ids, labels[part].tolist(), {"o": engine[part]}, theirs))
    return scorer.figures(), labels + OFFSET, engine.argmax(1), source.argmax(1)


def _counted(got: Any, want: Any) -> Any:
    """By NumPy: rows are the right classes, columns the answers."""
    return np.bincount(CLASSES * want + got, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def _torchmetrics(got: Any, want: Any) -> Any:
    import torch

    matrix = torchmetrics().classification.multiclass_confusion_matrix
    return matrix(torch.tensor(got), torch.tensor(want), CLASSES).numpy()


@pytest.mark.parametrize("matrix", [_counted, pytest.param(_torchmetrics, marks=pytest.mark.slow)])
def test_equals_a_confusion_matrix(matrix: Any) -> None:
    found, targets, answers, source = _scored()
    of = [matrix(got, want) for got, want in ((answers, targets), (source[:192], targets[:192]))]
    assert [row["class"] for row in found.per_class] == [1, 2, 3, 4]
    for row in found.per_class:
        label = row["class"]
        assert row["name"] == NAMES[label - OFFSET] and row["n"] == of[0][label].sum()
        assert row["top1"] == pytest.approx(100 * of[0][label, label] / of[0][label].sum(), abs=1e-9)
        assert row["source"] == pytest.approx(100 * of[1][label, label] / of[1][label].sum(), abs=1e-9)
    wrong = of[0] * (1 - np.eye(CLASSES, dtype=int))
    told = found.further["confusions"]
    assert [row["count"] for row in told] == sorted(wrong[wrong > 0].tolist(), reverse=True)[:20]
    assert all(wrong[row["target"], row["answer"]] == row["count"] for row in told)
    assert told[0]["target_name"].startswith("label ") and {row["answer_name"] for row in told} >= {""}


def test_what_is_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_class, "CLASSES", 3)
    counts = ClassCounts()
    targets = [0, 1, 1, 2, 2, 3, 3]
    counts.take(targets, np.zeros(7, int), np.array(targets))
    assert [row["class"] for row in counts.per_class()] == [1, 2, 3] and "1 are left out" in counts.notes()[0]
    assert counts.per_class()[0] == {"class": 1, "name": "", "n": 2, "top1": 100.0, "source": None}
    assert counts.confusions() == []


def test_a_tie_against_the_target_is_wrong_and_no_confusion() -> None:
    scorer = ClassScorer("o", 2, 0, False)
    scorer.take(Rows((RowId("a"),), [0], {"o": np.zeros((1, 2), np.float32)}, None))
    found = scorer.figures()
    assert found.per_class[0]["top1"] == found.metrics["top1"].value == 0.0 and not found.further["confusions"]


def _result(**further: Any) -> Result:
    plain: dict[str, Any] = {
        "recipe": "x",
        "recipe_sha256": "",
        "verdict": "pass",
        "rests_on": "",
        "n": 9,
        "skipped": 0,
    }
    nothing: dict[str, Any] = dict.fromkeys(("variant", "engine", "precision", "batch"))
    empty: dict[str, Any] = {"published": (), "checks": (), "artifacts": (), "notes": ()}
    where = {"processor": "", "cores": 1, "platform": "", "python": "", "packages": {}}
    return Result(
        **(plain | nothing | empty),
        duplicates=0,
        metrics={},
        source=SourceFigures({}),
        reference={},
        speed=NOTHING_RAN,
        dataset={"name": "x", "n": 9, "fingerprint": ""},
        environment=where,
        further=further,
    )


def test_the_report_tells_the_worst_classes() -> None:
    rows = [
        {"class": label, "name": f"<n{label}>", "n": 4 + label, "top1": 100.0 - label, "source": None}
        for label in range(13)
    ]
    text = render(_result(per_class=rows, confusions=[{"target": 3, "answer": 5, "count": 7}]))
    section = text.partition("## Worst classes")[2].partition("\n## ")[0]
    assert section.index("| 12 | &lt;n12> | 16 | 88.00 | – |") < section.index("| 11 |")
    assert "Of 12 classes with an n of 5 or more" in section and section.count("&lt;n") == 10
    assert "3 taken for 5 (7)" in section
    assert "Worst classes" not in render(_result(per_class=rows[:1])) + render(_result())
