"""The loop keeps order, bounds what is in flight, and never shows padding."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from modelport.core.values import Array, Batch, RowId, Signature, Tensors, TensorSpec
from modelport.evaluate.loop import run_batches
from modelport.measure.timing import Clocks


class Echo:
    """A runner that answers what it got, late and out of order, and counts how many runs are under way."""

    signature = Signature((TensorSpec("x", "float32", ("batch", 1)),), ())
    precision = "fp32"

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.most = self._now = 0
        self._lock = threading.Lock()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.002 * (int(inputs["x"][0, 0]) % 3))
        with self._lock:
            self._now -= 1
        return {"y": inputs["x"] * 2}


def _batches(count: int, size: int, pulled: list[int]) -> Iterator[Batch]:
    for index in range(count):
        pulled.append(index)
        n = size if index < count - 1 else 1
        ids = tuple(RowId(f"{index}-{row}") for row in range(n))
        yield Batch(ids, {"x": np.full((size, 1), index, np.float32)}, ids, ids)


@pytest.mark.parametrize(("concurrency", "size", "bound"), [(1, 4, 3), (3, 4, 9), (3, 16, 6), (2, 64, 4)])
def test_order_padding_and_bounds(concurrency: int, size: int, bound: int) -> None:
    runner, clocks, pulled = Echo(concurrency), Clocks(), list[int]()
    ahead = []
    for taken, (batch, outputs) in enumerate(run_batches(runner, _batches(20, size, pulled), clocks), start=1):
        assert outputs["y"].shape == (len(batch.ids), 1)
        assert batch.ids[0] == f"{taken - 1}-0"
        assert (outputs["y"] == 2 * (taken - 1)).all()
        ahead.append(len(pulled) - taken)
    assert taken == 20 and len(clocks.runs) == 20
    assert runner.most <= concurrency
    assert max(ahead) == bound
    assert 0 < clocks.busy_seconds <= clocks.seconds


def test_busy_time_counts_overlap_once() -> None:
    clocks = Clocks(runs=[(0, 10), (5, 15), (20, 30), (22, 24)], spent=40)
    assert clocks.busy_seconds == pytest.approx(25e-9)
    assert clocks.latencies_ms == [1e-5, 1e-5, 1e-5, 2e-6]


def test_an_engine_that_waits_for_its_inputs_is_told() -> None:
    def slow() -> Iterator[Batch]:
        for batch in _batches(4, 2, []):
            time.sleep(0.03)
            yield batch

    starved, fed = Clocks(), Clocks()
    list(run_batches(Echo(1), slow(), starved))
    list(run_batches(Echo(1), _batches(4, 2, []), fed))
    assert len(starved.waits) == 4
    assert 0.1 < starved.starved_seconds < starved.seconds
    assert fed.starved_seconds < 0.02
    assert starved.starved_seconds + starved.busy_seconds <= starved.seconds


def test_a_failing_run_is_raised_and_the_threads_end() -> None:
    class Broken(Echo):
        def run(self, inputs: Tensors) -> dict[str, Array]:
            raise RuntimeError("broken")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="broken"):
        list(run_batches(Broken(2), _batches(5, 2, []), Clocks()))
    assert threading.active_count() == before
