"""``stages_ms``: where the time of a sample goes, on clocks that are made up."""

from __future__ import annotations

import pytest

from modelport.evaluate.score import Scored
from modelport.measure.timing import Clocks
from modelport.report.clocks import STAGES, stages_ms, throughputs
from modelport.tasks.scoring import Ties
from modelport.verdict.soundness import Soundness

MS = 1_000_000


def _clocks() -> Clocks:
    """Four rows in two runs, 10 to 30 and 25 to 40 ms; batches are asked for at 0 to 10, 12 to 35 and 40 to 45."""
    clocks = Clocks(runs=[(10 * MS, 30 * MS), (25 * MS, 40 * MS)], spent=60 * MS)
    clocks.waits = [(0, 10 * MS), (12 * MS, 35 * MS), (40 * MS, 45 * MS)]
    clocks.prepared.rows, clocks.prepared.decode_ns, clocks.prepared.resize_ns = 8, 16 * MS, 4 * MS
    clocks.looked_up = 2 * MS
    return clocks


def _scored(rows: int = 4) -> Scored:
    return Scored(Soundness(), Ties(), rows=rows, scoring_ns=6 * MS)


def test_stages_are_ms_per_row() -> None:
    clocks = _clocks()
    found = stages_ms(_scored(), clocks, 4)
    # Rows that were prepared and not needed count for who prepared them; waiting costs nothing while a run goes on.
    assert found == pytest.approx({"decode": 2.0, "resize": 0.5, "wait": 15 / 4, "run": 30 / 4, "score": 2.0})
    assert found["run"] == pytest.approx(1e3 / throughputs(clocks, 4)["host"]["value"])


def test_a_stage_that_there_was_not_is_none() -> None:
    assert stages_ms(_scored()) == dict.fromkeys(STAGES) | {"score": 1.5}
    assert stages_ms(_scored(0), _clocks(), 0) == dict.fromkeys(STAGES)
