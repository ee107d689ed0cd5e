"""The verdict of a run that was not run: on the samples at hand and on draws of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelport.core.values import RowId
from modelport.diagnose.asking import Answers
from modelport.diagnose.faults.base import FaultFound
from modelport.diagnose.power.planting import UNCHANGED, Reach, smallest_noticed_drop
from modelport.diagnose.power.trial import Found, Trial, part_of
from modelport.recipes.schema import Recipe
from modelport.verdict.settings import Judging

SAMPLES = 400


@pytest.fixture(scope="module")
def right(tiny: Recipe) -> Answers:
    """A source that is right in about 80 of 100 samples."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 10, SAMPLES)
    logits = rng.standard_normal((SAMPLES, 10)).astype(np.float32)
    logits[np.arange(SAMPLES), targets] += np.where(rng.random(SAMPLES) < 0.78, 6.0, 0.0).astype(np.float32)
    ids = [RowId(f"{place}.JPEG") for place in range(SAMPLES)]
    digests = [f"{place:064x}" for place in range(SAMPLES)]
    return Answers(ids, targets.tolist(), {tiny.tensors.outputs[0].name: logits}, (), digests)


def trial_of(recipe: Recipe, right: Answers, n: int = SAMPLES) -> Trial:
    return Trial(recipe, right, Judging(), n, full_set=False)


def with_wrong(right: Answers, share: float) -> Answers:
    """The same answers, the first classes' scores turned round in a share of the samples."""
    ((name, logits),) = right.outputs.items()
    wrong = logits.copy()
    few = np.random.default_rng(1).random(len(logits)) < share
    wrong[few] = -wrong[few]
    return replace(right, outputs={name: wrong})


def test_a_healthy_port_passes_and_a_broken_one_fails(tiny: Recipe, right: Answers) -> None:
    trial = trial_of(tiny, right)
    healthy = trial.found(right)
    assert (healthy.verdict, healthy.drop) == ("pass", 0.0)
    broken = trial.found(with_wrong(right, 0.3))
    assert broken.verdict == "fail" and broken.drop is not None and broken.drop > 10.0
    assert "top1_vs_source" in broken.by


def test_replays_are_the_same_for_the_same_seed_and_follow_the_share(tiny: Recipe, right: Answers) -> None:
    trial = trial_of(tiny, right)
    one, two = (trial.replays(with_wrong(right, 0.3), 5) for _ in range(2))
    assert one == two and all(found.verdict == "fail" for found in one)
    assert [found.verdict for found in trial.replays(right, 5)] == ["pass"] * 5
    assert len({found.drop for found in trial.replays(with_wrong(right, 0.3), 5)}) > 1


def test_more_samples_than_at_hand_are_drawn_again(tiny: Recipe, right: Answers) -> None:
    """What 60 samples leave open, so many draws of them settle."""
    few = part_of(right, range(60))
    small = with_wrong(few, 0.02)
    assert not trial_of(tiny, few, 1500).is_whole
    assert {found.verdict for found in trial_of(tiny, few, 60).replays(small, 4)} != {"pass"}
    assert {found.verdict for found in trial_of(tiny, few, 1500).replays(few, 4)} == {"pass"}


def test_a_run_of_more_samples_is_judged_by_its_replays(tiny: Recipe, right: Answers) -> None:
    """60 samples leave a healthy port open; the run of 1,500 does not."""
    few = part_of(right, range(60))
    assert trial_of(tiny, few, 60).told(few, 4)[0].verdict == "inconclusive"
    found, drawn = trial_of(tiny, few, 1500).told(few, 4)
    assert (found.verdict, found.by, len(drawn)) == ("pass", (), 4)


@pytest.mark.parametrize(
    ("healthy", "verdict", "noticed"),
    [
        ("pass", "fail", True),
        ("pass", "inconclusive", True),
        ("pass", "pass", False),
        ("inconclusive", "inconclusive", False),
        ("inconclusive", "fail", True),
    ],
)
def test_what_cannot_be_told_from_healthy_is_not_noticed(healthy: str, verdict: str, noticed: bool) -> None:
    assert Found(verdict, (), None, True).is_noticed(healthy) is noticed


def reach(drop: float | None, noticed: bool, by: str = "top1_vs_source") -> Reach:
    return Reach(FaultFound("kind", "node", 1.0, noticed, drop, by), "", None, "graph")


@pytest.mark.parametrize(
    ("rows", "smallest"),
    [
        ([(3.0, True), (1.0, True), (0.4, False)], 1.0),
        ([(3.0, True), (1.0, False), (0.4, True)], 3.0),
        ([(3.0, False), (1.0, True)], None),
        ([(None, True), (-2.0, False), (2.0, True)], 2.0),
        ([], None),
    ],
)
def test_every_drop_from_the_smallest_on_was_noticed(
    rows: list[tuple[float | None, bool]], smallest: float | None
) -> None:
    assert smallest_noticed_drop([reach(*row) for row in rows]) == smallest


def test_what_changed_nothing_was_not_missed() -> None:
    """A healthy port may lose a little itself; a fault without effect loses as much."""
    rows = [reach(3.0, True), reach(1.5, False, UNCHANGED), reach(1.0, True)]
    assert smallest_noticed_drop(rows) == 1.0


def test_a_full_published_set_is_not_drawn(tiny: Recipe, right: Answers) -> None:
    """There is no other draw of it, and the observed figure decides."""
    ids = [RowId(f"ILSVRC2012_val_{place + 1:08d}") for place in range(SAMPLES)]
    dataset = tiny.dataset.model_copy(update={"published_n": SAMPLES, "published_ids": "ILSVRC2012_val_[0-9]{8}"})
    full = tiny.model_copy(update={"dataset": dataset})
    named = replace(right, ids=ids)
    assert trial_of(tiny, named).found(named).can_be_drawn
    assert not Trial(full, named, Judging(), SAMPLES, full_set=True).found(named).can_be_drawn
