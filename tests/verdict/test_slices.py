"""Who suffers: a class or slice that loses is told, of healthy ports nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

from modelport.core.values import Array
from modelport.recipes.tables import Tolerance
from modelport.tasks.paired import Paired
from modelport.verdict.slices import ERROR, Slice, Suffering, _hypergeometric_tail, _lopsided, suffering

POINT = Tolerance(value=1.0, unit="points")
Line = dict[str, Any]


def _lines(targets: Array, source: Array, engine: Array, facts: Sequence[Line] = ()) -> list[Line]:
    told = zip(targets.tolist(), source.tolist(), engine.tolist(), strict=True)
    found: list[Line] = [
        {"target": target, "source_correct": theirs, "correct": mine, "weight": 1.0} for target, theirs, mine in told
    ]
    return [line | {"facts": fact} for line, fact in zip(found, facts, strict=True)] if facts else found


def _port(seed: int, classes: int, each: int, flips: float, even: bool) -> tuple[Array, Array, Array]:
    """Return targets, and whether source (75 % right) and engine are right, where so many answers flip.

    ``even``: as many are won as lost; else any answer flips as often, so that right ones are lost.
    """
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(classes), each)
    source = rng.random(len(targets)) < 0.75
    share = np.where(source, flips / 1.5, flips / 0.5) if even else flips
    return targets, source, source ^ (rng.random(len(targets)) < share)


def _facts(seed: int, n: int) -> list[Line]:
    rng = np.random.default_rng(seed)
    numbers = zip(*(rng.integers(0, most, n).tolist() for most in (900, 2550, 12)), strict=True)
    return [
        {"width": 100 + width, "height": 300, "brightness": light / 10, "columns": {"site": f"s{site}"}}
        for width, light, site in numbers
    ]


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize(("classes", "each"), [(100, 50), (10, 64)])
def test_a_class_thirty_points_worse_is_told_and_nothing_of_healthy_ports(classes: int, each: int, even: bool) -> None:
    told = 0
    for seed in range(8):
        targets, source, engine = _port(seed, classes, each, (0.01, 0.02)[seed % 2], even)
        facts = _facts(seed, len(targets))
        told += bool(suffering(_lines(targets, source, engine, facts), POINT).found)
        lost = np.flatnonzero((targets == 3) & source)[: round(0.3 * each)]
        engine[lost] = False
        found = suffering(_lines(targets, source, engine, facts), POINT)
        assert [(one.kind, one.value) for one in found.found] == [("class", 3)]
        assert found.looked_at == classes + 4 + 4 + 12
        assert found.found[0].loss > 25 and found.found[0].p <= ERROR / 2
    assert told == 0


@pytest.mark.parametrize("kind", ["image size", "brightness", "column site", "column hour"])
def test_a_slice_that_loses_is_told_by_its_values(kind: str) -> None:
    _, source, engine = _port(0, 4, 200, 0.01, even=True)
    targets = np.arange(800) % 4
    facts = [
        {"width": 40 + row, "height": 10, "brightness": row / 4, "columns": {"site": f"s{row % 5}", "hour": str(row)}}
        for row in range(800)
    ]
    lost = np.arange(800) % 5 == 2 if kind == "column site" else np.arange(800) >= 600
    engine &= ~(lost & (np.random.default_rng(0).random(800) < 0.4))
    # What goes with it is told as well, and nothing else.
    found = {one.kind: one for one in suffering(_lines(targets, source, engine, facts), POINT).found}
    assert kind in found and (kind == "column site" or set(found) == {"image size", "brightness", "column hour"})
    ends = {"image size": "6400 to 8390", "brightness": "150 to 199.75", "column hour": "600 to 799"}
    assert found[kind].value == ends.get(kind, "s2") and found[kind].answered.n == (
        160 if kind == "column site" else 200
    )


def test_a_loss_that_is_everywhere_alike_is_no_slices() -> None:
    targets, source, engine = _port(1, 20, 100, 0.0, even=True)
    engine &= np.random.default_rng(0).random(len(targets)) > 0.1
    assert not suffering(_lines(targets, source, engine), POINT).found


def test_a_slice_within_the_tolerance_is_not_told() -> None:
    targets = np.repeat(np.arange(10), 1000)
    source = np.ones(10_000, bool)
    engine = source.copy()
    engine[3000:3020] = False  # two points
    lines = _lines(targets, source, engine)
    assert len(suffering(lines, POINT).found) == 1
    assert not suffering(lines, Tolerance(value=2.0, unit="points")).found
    assert not suffering(lines, Tolerance(value=2.0, unit="percent_of_reference")).found


def test_what_cannot_be_told_is_not_looked_at() -> None:
    targets, source, engine = _port(0, 2, 50, 0.2, even=False)
    lines = _lines(targets, source, engine)
    assert suffering(lines, POINT).looked_at == 2
    assert suffering([line | {"source_correct": None} for line in lines], POINT) == Suffering()
    assert suffering([line | {"weight": 1.0 + row} for row, line in enumerate(lines)], POINT) == Suffering()
    assert suffering([line | {"target": [1.5]} for line in lines], POINT) == Suffering()
    # A text for each sample, and one value for all.
    facts = [{"columns": {"note": f"n{row}", "all": True}} for row in range(100)]
    assert suffering(_lines(targets, source, engine, facts), POINT).looked_at == 2
    assert suffering([], POINT) == Suffering()
    # Whoever made a folder may have written anything.
    odd: list[Line] = [
        {"width": "x" * 9, "height": 10**9},
        {"width": 10**400, "height": 10**400},
        {"brightness": "nan"},
    ]
    assert suffering(_lines(targets, source, engine, odd * 33 + odd[:1]), POINT).looked_at == 2


def test_both_tests_are_exact() -> None:
    for hits, marked, drawn, n in ((0, 3, 5, 20), (3, 7, 9, 30), (9, 9, 40, 60), (15, 70, 50, 5000), (5, 20, 15, 20)):
        want = hypergeom.sf(hits - 1, n, marked, drawn)
        assert _hypergeometric_tail(hits, marked, drawn, n) == pytest.approx(want, rel=1e-9)


def test_of_slices_with_too_few_flips_none_is_counted() -> None:
    quiet = [Slice("class", label, Paired(40, 1, 0, 9)) for label in range(500)]
    # Alone it needs 2^-n of 2.5 %, among 500 of 0.005 %.
    assert len(_lopsided([*quiet, Slice("class", 500, Paired(30, 6, 0, 14))])) == 1
    assert not _lopsided([*quiet, Slice("class", 500, Paired(30, 5, 0, 14))]) and not _lopsided([])
    loud = [Slice("class", label, Paired(20, 7, 0, 14)) for label in range(2)]
    assert len(_lopsided(loud)) == 2 and not _lopsided(loud * 2)


def test_names_and_hostile_values_are_shown_plainly() -> None:
    found = Suffering((Slice("class", 3, Paired(0, 9, 0, 1), 1e-3), Slice("column a", "x", Paired(0, 5, 0, 5))), 40)
    names = {3: "hen\x1b[1m"}
    assert found.to_json(names)["slices"][0] == {
        "slice": "class",
        "value": 3,
        "name": "hen\x1b[1m",
        "n": 10,
        "source": 90.0,
        "engine": 0.0,
        "loss": 90.0,
        "p": 1e-3,
        "of_looked_at": 40,
    }
    (note,) = found.notes("top1", names)
    assert "class 3 (hen\\x1b[1m): 0, source 90, n 10; column a x: 0, source 50" in note and "40 classes" in note
    assert Suffering((), 40).notes("top1", names) == []
