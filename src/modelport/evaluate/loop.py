"""The streaming loop: batches in, outputs out in order, several runs in flight, the clocks apart."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from modelport.core.values import Array, Batch
from modelport.engines.base import Runner
from modelport.measure.timing import Clocks, Ran, timed_run

# Rows whose outputs are taken at once: each time that this thread wakes, it takes a core from a run.
ROWS_TOGETHER = 16


def run_batches(runner: Runner, batches: Iterable[Batch], clocks: Clocks) -> Iterator[tuple[Batch, dict[str, Array]]]:
    """Yield each batch with its outputs, padding rows cut off, in the order of ``batches``.

    At most ``runner.concurrency`` runs are in flight, as many batches wait for them, and small ones are taken several
    at once. The clock stands still outside: it starts with the first batch and ends when the caller has taken the last.
    """
    waiting: deque[tuple[Batch, Future[Ran]]] = deque()
    begun = time.perf_counter_ns()
    with ThreadPoolExecutor(max_workers=runner.concurrency, thread_name_prefix="engine") as pool:
        try:
            for batch in _waited_for(batches, clocks):
                waiting.append((batch, pool.submit(timed_run, runner, batch.inputs)))
                together = max(1, min(2 * runner.concurrency, ROWS_TOGETHER // max(1, len(batch.ids))))
                if len(waiting) >= 2 * runner.concurrency + together:
                    waiting[together - 1][1].result()
                    for _ in range(together):
                        yield _take(waiting, clocks)
            while waiting:
                yield _take(waiting, clocks)
        finally:
            for _, future in waiting:
                future.cancel()
            clocks.spent += time.perf_counter_ns() - begun


def _waited_for(batches: Iterable[Batch], clocks: Clocks) -> Iterator[Batch]:
    begun = time.perf_counter_ns()
    for batch in batches:
        clocks.waits.append((begun, time.perf_counter_ns()))
        yield batch
        begun = time.perf_counter_ns()


def _take(waiting: deque[tuple[Batch, Future[Ran]]], clocks: Clocks) -> tuple[Batch, dict[str, Array]]:
    batch, future = waiting.popleft()
    ran = future.result()
    clocks.runs.append(ran.times)
    if ran.device is not None:
        clocks.device.append(ran.device)
    return batch, {name: array[: len(batch.ids)] for name, array in ran.outputs.items()}
