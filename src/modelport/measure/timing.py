"""The clocks of runs, and the speed that follows from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from modelport.core.values import Array, Tensors
from modelport.data.prepare.stage_clock import StageClock
from modelport.engines.base import DeviceTimes, Runner, TimedRunner

Clock = Callable[[], int]
"""Tells nanoseconds, as ``perf_counter_ns`` does."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its outputs, its (start, end) in ns of ``perf_counter_ns``, and its copies where the engine tells."""

    outputs: dict[str, Array]
    times: tuple[int, int]
    device: DeviceTimes | None

    def computing_ms(self, origin: int = 0) -> tuple[float, float]:
        """Return start and end of the computing, in ms since ``origin`` (ns)."""
        start, end = ((moment - origin) / 1e6 for moment in self.times)
        if self.device is None:
            return start, end
        return start + self.device.h2d_ms, start + self.device.h2d_ms + self.device.compute_ms


def timed_run(runner: Runner, inputs: Tensors) -> Ran:
    """Run once, and tell the clocks. Raises what the runner raises."""
    start, device = time.perf_counter_ns(), None
    if isinstance(runner, TimedRunner):
        outputs, device = runner.run_timed(inputs)
    else:
        outputs = runner.run(inputs)
    return Ran(outputs, (start, time.perf_counter_ns()), device)


def busy(runs: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of the runs (start, end) was under way, in their unit."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(runs):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


@dataclass(frozen=True, slots=True)
class Timed:
    """The timed runs of one setting. ``runs`` holds, per worker, the (start, end) of its runs in ns, in order."""

    batch: int
    runs: tuple[tuple[tuple[int, int], ...], ...]
    steady: bool = True  # whether the warm-up ended because the runs had become steady

    @property
    def in_flight(self) -> int:
        """How many runs were under way at once: one per worker."""
        return len(self.runs)

    @property
    def latencies_ms(self) -> list[float]:
        """Milliseconds of each run, in the order in which they began."""
        return [(end - start) / 1e6 for start, end in sorted(run for worker in self.runs for run in worker)]

    @property
    def samples_per_second(self) -> float:
        """The sum of the workers' rates, each over its own time: no worker's idle end counts for the others."""
        spans = [(len(worker), worker[-1][1] - worker[0][0]) for worker in self.runs]
        return sum(self.batch * count * 1e9 / span for count, span in spans)


@dataclass(slots=True)
class Clocks:
    """Times of one evaluation, in nanoseconds of ``perf_counter_ns``."""

    runs: list[tuple[int, int]] = field(default_factory=list)  # (start, end) of each run, in order
    device: list[DeviceTimes] = field(default_factory=list)  # of each run, where the engine tells copies from computing
    waits: list[tuple[int, int]] = field(default_factory=list)  # (start, end) of asking for each batch
    prepared: StageClock = field(default_factory=StageClock)  # CPU time of the threads that prepare the inputs
    looked_up: int = 0  # CPU time in which the source's kept answers were found
    spent: int = 0

    @property
    def seconds(self) -> float:
        """From the first batch being asked for to the last output being consumed; of several ways, their sum."""
        return self.spent / 1e9

    @property
    def busy_seconds(self) -> float:
        """Time in which at least one run was under way."""
        return busy(self.runs) / 1e9

    @property
    def starved_seconds(self) -> float:
        """Time in which the next batch was waited for, and no run was under way."""
        return (busy([*self.runs, *self.waits]) - busy(self.runs)) / 1e9

    @property
    def latencies_ms(self) -> list[float]:
        """Milliseconds of each run of one batch."""
        return [(end - start) / 1e6 for start, end in self.runs]
