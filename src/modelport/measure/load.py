"""Keep runs in flight for some seconds and time each: warm-up, the timed part, and load until the last is done."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from modelport.core.values import Tensors
from modelport.engines.base import DeviceTimes, Runner, TimedRunner
from modelport.measure.held_answers import Held, Reservoir
from modelport.measure.timing import Clock, Timed

# The warm-up is judged by blocks of runs: it is over when a block's mean is no longer below the one before.
BLOCK_RUNS, BLOCK_NS = 3, 100_000_000
# A block this much faster than the last still counts as no faster.
STILL = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be kept running, and for how long each worker is timed."""

    runner: Runner
    buffers: Sequence[Tensors]
    batch: int
    in_flight: int
    seconds: float
    clock: Clock = time.perf_counter_ns
    answers: int = 0  # how many of the timed runs' answers are held, of all workers together
    seed: int = 0  # of the choice which


@dataclass(frozen=True, slots=True)
class Measured:
    """The timed runs, what came before them, and the device's own clocks where it has any."""

    timed: Timed
    warm_up_runs: int  # of all workers
    device: tuple[DeviceTimes, ...]  # one per timed run, in the order of the workers; empty where none are told
    held: tuple[Held, ...] = ()  # answers of some timed runs


@dataclass(frozen=True, slots=True)
class _Worked:
    warm_up: int
    steady: bool
    reservoir: Reservoir
    runs: list[tuple[int, int]] = field(default_factory=list)
    device: list[DeviceTimes] = field(default_factory=list)


def measure(load: Load) -> Measured:
    """Run warm-up and timed part with ``load.in_flight`` workers; one alone works in the calling thread.

    Each worker is timed until the first of its runs that ends after ``load.seconds``, so at least once.
    """
    team = _Team(load)
    if load.in_flight == 1:
        parts = [team.work(0)]
    else:
        with ThreadPoolExecutor(load.in_flight, thread_name_prefix="bench") as pool:
            try:
                futures = [pool.submit(team.work, place) for place in range(load.in_flight)]
                problems = [problem for future in futures if (problem := future.exception()) is not None]
            finally:
                team.stop()
        # Whoever waited for one that failed says only that it waited in vain.
        problems.sort(key=lambda problem: isinstance(problem, threading.BrokenBarrierError))
        if problems:
            raise problems[0]
        parts = [future.result() for future in futures]
    timed = Timed(load.batch, tuple(tuple(part.runs) for part in parts), all(part.steady for part in parts))
    device = tuple(times for part in parts for times in part.device)
    held = tuple(one for part in parts for one in part.reservoir.held)
    return Measured(timed, sum(part.warm_up for part in parts), device, held)


class _Team:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._timed_run = load.runner.run_timed if isinstance(load.runner, TimedRunner) else None
        self._start = threading.Barrier(load.in_flight)
        self._end = threading.Event()
        self._lock, self._busy = threading.Lock(), load.in_flight

    def stop(self) -> None:
        self._start.abort()
        self._end.set()

    def work(self, place: int) -> _Worked:
        """Warm up, wait for the others, be timed, and keep the load up until the last of them is done."""
        try:
            # Whose buffer is next: workers start at different ones.
            turn = itertools.count(place + 1)
            count, steady = self._warm_up(turn)
            self._start.wait()
            reservoir = Reservoir.of(self._load.answers, place, self._load.in_flight, self._load.seed)
            worked = _Worked(count, steady, reservoir)
            self._timed(turn, worked)
            with self._lock:
                self._busy -= 1
                if not self._busy:
                    self._end.set()
            while not self._end.is_set():
                self._once(turn, None)
        except BaseException:
            self.stop()
            raise
        return worked

    def _timed(self, turn: Iterator[int], worked: _Worked) -> None:
        deadline = self._load.clock() + int(self._load.seconds * 1e9)
        while not self._end.is_set():
            run = self._once(turn, worked)
            worked.runs.append(run)
            if run[1] >= deadline:
                return

    def _warm_up(self, turn: Iterator[int]) -> tuple[int, bool]:
        """Return how many runs it took, and whether they had become steady within the limit."""
        clock = self._load.clock
        limit = clock() + int(self._load.seconds * 1e9)
        count, before = 0, 0.0
        while True:
            start, runs = clock(), list[int]()
            while len(runs) < BLOCK_RUNS or clock() - start < BLOCK_NS:
                begun, ended = self._once(turn, None)
                runs.append(ended - begun)
                if ended >= limit or self._end.is_set():
                    return count + len(runs), False
            count += len(runs)
            mean = sum(runs) / len(runs)
            if before and mean >= (1 - STILL) * before:
                return count, True
            before = mean

    def _once(self, turn: Iterator[int], worked: _Worked | None) -> tuple[int, int]:
        """Run once and return its start and end; what it answered is offered outside its clock."""
        place = next(turn) % len(self._load.buffers)
        inputs = self._load.buffers[place]
        clock, times = self._load.clock, None
        start = clock()
        if self._timed_run is None:
            outputs = self._load.runner.run(inputs)
        else:
            outputs, times = self._timed_run(inputs)
        end = clock()
        if worked is not None:
            if times is not None:
                worked.device.append(times)
            worked.reservoir.offer(place, outputs)
        return start, end
