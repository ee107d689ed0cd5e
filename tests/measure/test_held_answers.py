"""Timed answers are held against calm ones, on a clock of the tests' own: nothing is timed."""

from __future__ import annotations

import random
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.measure.held_answers import ANSWERS, VALUES, Answers, Reservoir, against_calm, check_of, part_of
from modelport.measure.load import Load, measure
from modelport.measure.repeated_input import ENOUGH, ERROR, Repeated, compared, repeated_input
from modelport.measure.repeated_input import check_of as check_of_repeated

MS = 1_000_000
SPECS = (TensorSpec("x", "float32", ("batch", 4)),), (TensorSpec("y", "float32", ("batch", 3)),)
MAP = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
SLOW, FAST = 10.0, 1.0


class ThreadClock(threading.local):
    """Nanoseconds that pass only where a runner says so, in each thread for itself."""

    now = 0

    def __call__(self) -> int:
        return self.now


@dataclass
class Engine:
    """Answers with a linear map, and takes ``cost`` ms for it."""

    concurrency: int = 1
    precision: str = "fp32"
    signature: Signature = field(default_factory=lambda: Signature(*SPECS))
    clock: ThreadClock = field(default_factory=ThreadClock)
    cost: float = SLOW

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Nothing is remembered between runs."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.clock.now += int(self.cost * MS)
        return {"y": inputs["x"] @ MAP}


class Caching(Engine):
    """Computes only what it does not find under ``key`` among its last eight answers; the rest takes FAST ms."""

    key: Callable[[Array], object]

    def start(self) -> None:
        self.kept = OrderedDict[object, Array]()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        key = type(self).key(inputs["x"])
        if key not in self.kept:
            self.kept[key] = super().run(inputs)["y"]
            if len(self.kept) > 8:
                self.kept.popitem(last=False)
        else:
            self.kept.move_to_end(key)
            self.clock.now += int(FAST * MS)
        return {"y": self.kept[key].copy()}


class CachingContent(Caching):
    key = staticmethod(lambda array: array.tobytes())


class CachingAddress(Caching):
    key = staticmethod(lambda array: array.ctypes.data)


class Racing(Engine):
    """Hands out what lies in one place for all workers, where another run may have put its own answer."""

    def start(self) -> None:
        self.place = np.zeros((2, 3), np.float32)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        answer = super().run(inputs)["y"]
        if threading.current_thread() is threading.main_thread():
            return {"y": answer}
        late, self.place = self.place, answer
        return {"y": late}


class OneArray(Engine):
    """Hands out the same array at each run, and writes it again at the next."""

    def start(self) -> None:
        self.place = np.zeros((2, 3), np.float32)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.place[:] = super().run(inputs)["y"]
        return {"y": self.place}


def _buffers() -> list[Tensors]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((2, 4)).astype(np.float32)} for _ in range(4)]


def _answers(engine: Engine, in_flight: int = 1) -> Answers:
    load = Load(engine, _buffers(), 2, in_flight, 1.0, engine.clock, ANSWERS)
    return against_calm(engine, load.buffers, measure(load).held, 1.0, engine.clock)


@pytest.mark.parametrize(("engine", "in_flight"), [(Engine, 1), (Engine, 3), (OneArray, 1)])
def test_a_healthy_engine_answers_as_in_a_calm_run(engine: type[Engine], in_flight: int) -> None:
    found = _answers(engine(concurrency=in_flight), in_flight)
    assert (found.held, found.differ, found.worst) == (ANSWERS // in_flight * in_flight, 0, 0.0)
    check = check_of([found, found])
    assert (check.verdict, check.got) == ("pass", 0.0)


def test_answers_that_race_are_found() -> None:
    """Whoever ran before had another buffer, whether it was the other worker or oneself."""
    found = _answers(Racing(2), 2)
    assert 0 < found.differ <= found.held
    check = check_of([Answers(4, 0, 0.0, 1e-5), found])
    assert check.verdict == "fail" and f"{found.differ} of {found.held + 4} held differ" in check.why


@pytest.mark.parametrize(
    ("precision", "error", "differs"),
    [
        ("fp32", 2e-7, False),
        ("fp32", 1e-4, True),
        ("fp16", 1e-3, False),
        ("fp16", 0.02, True),
        ("as compiled", 1e-4, True),  # whatever it is, the strictest holds
        ("fp32", float("nan"), True),
    ],
)
def test_what_rounding_explains_is_no_difference(precision: str, error: float, differs: bool) -> None:
    """Every run but the calm one is off by a share of the largest output."""

    class Off(Engine):
        calm = False

        def run(self, inputs: Tensors) -> dict[str, Array]:
            outputs = super().run(inputs)["y"]
            return {"y": outputs if self.calm else outputs + np.float32(error) * np.abs(outputs).max()}

    engine = Off(precision=precision)
    load = Load(engine, _buffers(), 2, 1, 1.0, engine.clock, ANSWERS)
    held = measure(load).held
    engine.calm = True
    found = against_calm(engine, load.buffers, held, 1.0, engine.clock)
    assert found.differ == (found.held if differs else 0)
    assert (found.to_json()["worst"] is None) == (error != error)


def test_an_answer_of_another_size_differs() -> None:
    engine = Engine()
    (held,) = measure(Load(engine, _buffers(), 2, 1, 0.0, engine.clock, 1)).held
    shorter = [{"x": buffer["x"][:1]} for buffer in _buffers()]
    found = against_calm(engine, shorter, [held], 1.0, engine.clock)
    assert found.differ == 1 and found.to_json()["worst"] is None


def test_calm_runs_take_a_tenth_of_the_time_but_for_the_first() -> None:
    engine = Engine(cost=200.0)
    held = measure(Load(engine, _buffers(), 2, 1, 4.0, engine.clock, ANSWERS)).held
    for seconds, runs in ((0.1, 1), (3.0, 2), (10.0, 4)):
        start = engine.clock.now
        found = against_calm(engine, _buffers(), held, seconds, engine.clock)
        assert engine.clock.now - start == runs * 200 * MS
        assert found.held == sum(one.buffer in list(dict.fromkeys(h.buffer for h in held))[:runs] for one in held)


def test_every_run_is_held_as_likely_and_seeded() -> None:
    runs, size, trials = 40, 4, 3000
    counts = Counter[int]()
    for seed in range(trials):
        reservoir = Reservoir(size, random.Random(seed))
        for run in range(runs):
            reservoir.offer(run, {})
        assert len({held.buffer for held in reservoir.held}) == size
        counts.update(held.buffer for held in reservoir.held)
    expected = trials * size / runs
    # Five standard deviations of a binomial count.
    assert all(abs(counts[run] - expected) < 5 * np.sqrt(expected) for run in range(runs))

    def chosen(seed: int) -> list[int]:
        reservoir = Reservoir.of(ANSWERS, 0, 2, seed)
        for run in range(100):
            reservoir.offer(run, {})
        return [held.buffer for held in reservoir.held]

    assert chosen(3) == chosen(3) != chosen(4)
    assert len(chosen(0)) == ANSWERS // 2


def test_nothing_is_held_unless_asked_for_and_each_of_many_workers_holds_one() -> None:
    engine = Engine(2)
    assert measure(Load(engine, _buffers(), 2, 2, 0.1, engine.clock)).held == ()
    assert Reservoir.of(ANSWERS, 5, 100, 0).size == 1


def test_of_a_large_output_some_values_are_held_and_copied() -> None:
    large = np.arange(3 * VALUES + 1, dtype=np.float32)
    parts = part_of({"large": large, "turned": large[::-1], "small": np.ones((2, 3)), "none": np.zeros(0)})
    assert (parts["small"].size, parts["none"].size, part_of({"one": np.ones(())})["one"].size) == (6, 0, 1)
    assert VALUES / 2 < parts["large"].size == parts["turned"].size <= VALUES
    assert parts["large"][0] == 0 and parts["turned"][0] == 3 * VALUES
    large[:] = -1
    assert parts["large"][0] == 0


@pytest.mark.parametrize("engine", [CachingContent, CachingAddress])
def test_an_engine_that_caches_answers_is_found(engine: type[Engine]) -> None:
    """Its four buffers in turn are all in the cache: its speed is not the model's, and its answers are right."""
    runner = engine()
    assert _answers(runner).differ == 0
    found = repeated_input(runner, _buffers()[0], 1.0, runner.clock)
    assert found.faster and found.ratio == SLOW / FAST and found.pairs >= ENOUGH
    assert "900 % faster: something caches answers" in found.why
    assert check_of_repeated([Repeated(20, 1.01, 0.3), found]).verdict == "fail"


def test_an_engine_without_a_cache_is_not_suspected() -> None:
    runner = Engine()
    found = repeated_input(runner, _buffers()[0], 10.0, runner.clock)
    assert not found.faster and found.ratio == 1.0 and not found.why
    # A tenth of the seconds, at 20 ms a pair.
    assert found.pairs == 50
    assert check_of_repeated([found]).verdict == "pass"


def test_a_model_too_slow_to_be_asked_is_said_to_be() -> None:
    runner = Engine(cost=100.0)
    found = repeated_input(runner, _buffers()[0], 1.0, runner.clock)
    assert (found.pairs, found.ratio, found.faster) == (0, None, False)
    assert runner.clock.now == 100 * MS
    assert check_of_repeated([found]).verdict == "not_applicable"
    assert repeated_input(runner, _buffers()[0], 13.0, runner.clock).pairs == ENOUGH


def test_a_clock_that_stands_still_ends() -> None:
    found = repeated_input(Engine(), _buffers()[0], 1.0, lambda: 0)
    assert found.ratio == 1.0 and not found.faster


def test_an_accident_is_rarely_taken_for_a_cache() -> None:
    """Times of two runs alike that spread by half: the share that is called faster stays below the error."""
    rng = np.random.default_rng(0)
    found = [compared(*rng.lognormal(0, 0.5, (2, 30)).tolist()) for _ in range(2000)]
    assert sum(one.p_value <= ERROR for one in found) <= 2000 * ERROR + 3 * np.sqrt(2000 * ERROR)
    assert sum(one.faster for one in found) <= sum(one.p_value <= ERROR for one in found)


def test_times_of_nothing_are_no_cache() -> None:
    assert compared([0] * 20, [0] * 20).ratio == 1.0
    fast = compared([0] * 20, [5] * 20)
    assert fast.faster and "unmeasurably" in fast.why and fast.to_json()["ratio"] is None
