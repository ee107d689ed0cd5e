"""The measuring loop on a clock of its own, what is fed, the search, and the command. Nothing is timed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Call, Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, UsageError
from modelport.core.progress import Silent
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Build, DeviceTimes, Launch, Runner
from modelport.engines.null import NullEngine
from modelport.jobs import bench as bench_module
from modelport.jobs.bench import bench
from modelport.measure.held_answers import ANSWERS
from modelport.measure.in_flight import Probe, chosen, probe_concurrency
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.bench_model import BenchRequest

MS = 1_000_000
INPUT = TensorSpec("x", "float32", ("batch", 1))


class ThreadClock(threading.local):
    """Nanoseconds that pass only where a runner says so, in each thread for itself."""

    now = 0

    def __call__(self) -> int:
        return self.now


@dataclass
class Fake:
    """A runner whose runs take the times that ``cost`` tells, in ms, by the number of the run in its thread."""

    clock: ThreadClock
    cost: list[float]
    concurrency: int = 1
    signature: Signature = field(default_factory=lambda: Signature((INPUT,), ()))
    precision: str = "fp32"
    seen: Counter[float] = field(default_factory=Counter)
    runs: threading.local = field(default_factory=threading.local)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        count = getattr(self.runs, "count", 0)
        self.runs.count = count + 1
        self.clock.now += int(self.cost[min(count, len(self.cost) - 1)] * MS)
        self.seen[float(inputs["x"][0, 0])] += 1
        return {}


class FakeDevice(Fake):
    def run_timed(self, inputs: Tensors) -> tuple[dict[str, Array], DeviceTimes]:
        self.run(inputs)
        return {}, DeviceTimes(1.0, 7.0, 2.0)


def _buffers(count: int) -> list[Tensors]:
    return [{"x": np.full((1, 1), place, np.float32)} for place in range(count)]


def _load(runner: Fake, seconds: float = 1.0, in_flight: int = 1, batch: int = 1) -> Load:
    return Load(runner, _buffers(4), batch, in_flight, seconds, runner.clock)


def test_runs_are_timed_until_the_duration_is_over() -> None:
    runner = Fake(ThreadClock(), [10.0])
    measured = measure(_load(runner, batch=8))
    (runs,) = measured.timed.runs
    assert len(runs) == 100
    assert {end - start for start, end in runs} == {10 * MS}
    assert measured.timed.samples_per_second == pytest.approx(800)
    assert measured.timed.steady
    assert measured.warm_up_runs == 20  # two blocks of 100 ms
    assert measured.device == ()


def test_the_warm_up_ends_when_runs_stop_becoming_faster() -> None:
    # Ever faster by a tenth for 50 runs, then steady.
    cost = [100 * 0.9**place for place in range(50)]
    runner = Fake(ThreadClock(), [*cost, cost[-1]])
    measured = measure(_load(runner, seconds=3))
    assert measured.timed.steady
    assert measured.warm_up_runs > 50
    np.testing.assert_allclose(measured.timed.latencies_ms, cost[-1], rtol=1e-3)


def test_a_warm_up_that_never_settles_is_bounded_and_said() -> None:
    runner = Fake(ThreadClock(), [1000 * 0.98**place for place in range(2000)])
    measured = measure(_load(runner, seconds=10))
    assert not measured.timed.steady
    assert measured.warm_up_runs < 15


def test_one_slow_run_is_still_a_figure() -> None:
    measured = measure(_load(Fake(ThreadClock(), [5000.0])))
    assert measured.timed.latencies_ms == [5000.0]


def test_inputs_take_turns() -> None:
    runner = Fake(ThreadClock(), [10.0])
    measure(_load(runner))
    assert set(runner.seen) == {0.0, 1.0, 2.0, 3.0}
    assert max(runner.seen.values()) - min(runner.seen.values()) <= 1


@pytest.mark.parametrize("in_flight", [2, 5])
def test_several_in_flight_are_timed_each_and_add_up(in_flight: int) -> None:
    runner = Fake(ThreadClock(), [10.0], in_flight)
    timed = measure(_load(runner, in_flight=in_flight, batch=4)).timed
    assert timed.in_flight == in_flight
    assert [len(runs) for runs in timed.runs] == [100] * in_flight
    assert all(after[0] == before[1] for runs in timed.runs for before, after in pairwise(runs))
    assert timed.samples_per_second == pytest.approx(in_flight * 400)


def test_who_is_done_keeps_the_load_up_for_those_who_are_not() -> None:
    beyond, first = threading.Event(), threading.Barrier(2)

    class Held(Fake):
        def run(self, inputs: Tensors) -> dict[str, Array]:
            super().run(inputs)
            if self.runs.count == 1:
                self.runs.held = first.wait() == 1
            # The one worker waits in its timed part until the other has run more often than it is timed.
            if self.runs.held and self.runs.count == 50:
                assert beyond.wait(10), "the other worker went idle"
            if not self.runs.held and self.runs.count == 200:
                beyond.set()
            return {}

    measured = measure(_load(Held(ThreadClock(), [10.0]), in_flight=2))
    assert [len(runs) for runs in measured.timed.runs] == [100, 100]
    assert beyond.is_set()


@pytest.mark.parametrize(("in_flight", "worker", "at"), [(1, 0, 30), (3, 0, 30), (3, 2, 5)])
def test_a_failing_run_is_raised_and_the_workers_end(in_flight: int, worker: int, at: int) -> None:
    class Broken(Fake):
        def run(self, inputs: Tensors) -> dict[str, Array]:
            super().run(inputs)
            if self.runs.count == at and inputs["x"][0, 0] == (worker + at) % 4:
                raise EngineError("broken")
            return {}

    before = threading.active_count()
    with pytest.raises(EngineError, match="broken"):
        measure(_load(Broken(ThreadClock(), [10.0]), seconds=100, in_flight=in_flight))
    assert threading.active_count() == before


def test_the_devices_own_clocks_are_kept_for_timed_runs_only() -> None:
    measured = measure(_load(FakeDevice(ThreadClock(), [10.0]), batch=7))
    assert len(measured.device) == len(measured.timed.latencies_ms) == 100
    told = bench_module._device(measured, 7)
    assert told is not None
    assert {name: clock["mean"] for name, clock in told["latency_ms"].items()} == {"h2d": 1, "compute": 7, "d2h": 2}
    assert told["throughput"]["value"] == pytest.approx(1000)


def _signature(*specs: TensorSpec) -> Signature:
    return Signature(specs, ())


def test_float_inputs_are_normalised_pixels_and_seeded() -> None:
    recipe = load_recipe("moco-v2")
    signature = _signature(TensorSpec("x", "float32", (2, 3, 16, 16)))
    inputs = random_inputs(signature, recipe, 5)
    arrays = [buffer["x"] for buffer in inputs.buffers]
    assert len(arrays) == 4 and all(array.dtype == np.float32 for array in arrays)
    # Undone, they are whole pixels from black to white.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = (arrays[0] * std[:, None, None] + mean[:, None, None]) * 255
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)
    assert pixels.min() >= -1e-3 and pixels.max() <= 255.001 and pixels.std() > 60
    assert not any(np.array_equal(one, other) for one, other in pairwise(arrays))
    again = random_inputs(signature, recipe, 5).buffers
    assert all(np.array_equal(one["x"], other) for one, other in zip(again, arrays, strict=True))
    assert not np.array_equal(random_inputs(signature, recipe, 6).buffers[0]["x"], arrays[0])


def test_the_published_variant_of_simclr_gets_zeros_and_ones() -> None:
    recipe = load_recipe("simclr").with_variant("published")
    inputs = random_inputs(_signature(TensorSpec("x", "float32", (4, 3, 32, 32))), recipe, 0)
    assert set(np.unique(inputs.buffers[0]["x"])) == {0.0, 1.0}


def test_other_dtypes_and_models_without_recipe() -> None:
    specs = [
        TensorSpec("f", "float32", (50, 40)),
        TensorSpec("h", "float16", (50, 40)),
        TensorSpec("b", "uint8", (50, 40)),
        TensorSpec("i", "int64", (50, 40)),
    ]
    (first, *_) = random_inputs(_signature(*specs), None, 0).buffers
    assert {name: str(array.dtype) for name, array in first.items()} == {spec.name: spec.dtype for spec in specs}
    assert abs(float(first["f"].mean())) < 0.1 and 0.9 < float(first["f"].std()) < 1.1
    assert (first["b"].min(), first["b"].max()) == (0, 255)
    assert set(np.unique(first["i"])) == {0, 1}


def test_a_free_axis_or_a_strange_dtype_is_refused() -> None:
    with pytest.raises(UsageError, match=r"x: float32 \(1, \?\).*free"):
        random_inputs(_signature(TensorSpec("x", "float32", (1, "?"))), None, 0)
    with pytest.raises(UsageError, match="dtype"):
        random_inputs(_signature(TensorSpec("x", "complex64", (1, 2))), None, 0)


def test_a_batch_that_this_machine_cannot_hold_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"--batch 100000000: its inputs are .* GiB"):
        bench(BenchRequest("moco-v2", Path("nowhere.pth"), batches=(1, 10**8)), Silent())


def test_buffers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelport.measure.inputs.MOST_BYTES", 3 * 4 * 100)
    assert len(random_inputs(_signature(TensorSpec("x", "float32", (1, 100))), None, 0).buffers) == 3
    assert len(random_inputs(_signature(TensorSpec("x", "float32", (1, 400))), None, 0).buffers) == 2


def test_more_in_flight_must_gain() -> None:
    assert chosen([Probe(1, 100.0), Probe(2, 150.0), Probe(4, 120.0)]) == 2
    assert chosen([Probe(1, 100.0), Probe(2, 100.5)]) == 1
    assert chosen([Probe(1, 100.0), Probe(2, 99.0)]) == 1


def test_the_search_tries_one_the_engines_own_and_one_per_core(
    tiny_graph: Artifact, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, tuple[str, ...], bytes]] = []

    def spy(load: Load) -> Any:
        asked.append((load.in_flight, tuple(load.buffers[0]), load.buffers[0]["actual_input_1"].tobytes()))
        return measure(Load(load.runner, load.buffers, load.batch, load.in_flight, 0.0))

    monkeypatch.setattr("modelport.measure.in_flight.measure", spy)
    from modelport.engines.registry import get_engine

    build = Build(tiny, "fp32", 2)
    best = chosen(probe_concurrency(get_engine("onnxruntime"), tiny_graph, build, Launch(3), 0.01))
    assert best in (1, 3)
    assert [in_flight for in_flight, *_ in asked] == [1, 3]
    assert len({content for *_, content in asked}) == 1  # the same inputs


@pytest.mark.parametrize(("engine", "threads"), [("openvino", 2), ("onnxruntime", 4)])
def test_engines_honour_the_runs_in_flight(engine: str, threads: int, tiny_graph: Artifact, tiny: Recipe) -> None:
    from modelport.engines.registry import get_engine, opened

    for in_flight in (1, 2):
        build, launch = Build(tiny, "fp32", 2), Launch(threads, in_flight)
        with opened(get_engine(engine), tiny_graph, build, launch) as runner:
            assert runner.concurrency == in_flight


@pytest.fixture(scope="module")
def tiny_graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny()[0]


@pytest.mark.slow
def test_the_result_of_a_recipe(tiny_path: Path, tiny_weights: Path) -> None:
    request = BenchRequest(str(tiny_path), tiny_weights, batches=(1, 4), duration=0.02, engine="onnxruntime", seed=3)
    value = bench(request, Silent())
    json.dumps(value, allow_nan=False)
    assert value["schema"] == "modelport.bench/1"
    assert (value["recipe"], value["engine"], value["precision"]) == ("tiny", "onnxruntime", "fp32")
    assert {point["batch"] for point in value["points"]} == {1, 4}
    for point in value["points"]:
        runs = [run for worker in point["runs_ns"] for run in worker]
        assert point["throughput"]["count"] == point["latency_ms"]["count"] == len(runs) >= 1
        assert point["latency_ms"]["min"] == min(runs) / 1e6
        assert len(point["runs_ns"]) == point["in_flight"]
    assert {(row["batch"], row["in_flight"]) for row in value["concurrency_search"]} >= {(1, 1), (4, 1)}
    for point in value["points"]:
        assert point["answers"] | {"held": 0} == {"held": 0, "differ": 0, "worst": 0.0, "tolerated": 1e-5}
        assert 1 <= point["answers"]["held"] <= ANSWERS
    assert [check["name"] for check in value["checks"]] == ["timed_answers", "repeated_input"]
    assert value["checks"][0]["verdict"] == "pass"
    assert "no copies" in value["copies"]
    assert "seed 3" in value["inputs"]
    assert [speed["device"] for speed in value["published"]] == ["Ascend310P3"]
    assert [row["kind"] for row in value["artifacts"]] == ["checkpoint", "onnx"]
    assert value["best"]["value"] == max(point["throughput"]["value"] for point in value["points"])


def test_a_model_file_needs_no_recipe(tiny_graph: Artifact) -> None:
    request = BenchRequest(model=tiny_graph.path, engine="onnxruntime", batches=(3,), duration=0.01, concurrency=2)
    value = bench(request, Silent())
    assert value["recipe"] is None and value["published"] == []
    assert [(point["batch"], point["in_flight"]) for point in value["points"]] == [(3, 1), (3, 2)]
    assert value["signature"]["inputs"] == ["actual_input_1: float32 (3, 3, 32, 32)"]
    assert value["concurrency_search"] == []


@pytest.mark.slow
def test_a_model_fixed_to_a_batch_leaves_no_choice(exported_tiny: Exported) -> None:
    fixed, _ = exported_tiny(20, 3)
    value = bench(BenchRequest(model=fixed.path, engine="openvino", duration=0.01, concurrency=1), Silent())
    assert {point["batch"] for point in value["points"]} == {3}
    assert any("fixed" in note for note in value["notes"])
    with pytest.raises(UsageError, match="fixed to batch 3"):
        bench(BenchRequest(model=fixed.path, batches=(1,)), Silent())


def test_more_in_flight_than_an_engine_serves_is_refused(tiny_path: Path, tiny_weights: Path) -> None:
    request = BenchRequest(str(tiny_path), tiny_weights, engine="torch", batches=(1,), duration=0.01, concurrency=2)
    with pytest.raises(EngineError, match="1 runs in flight here, not 2"):
        bench(request, Silent())


class Hurried:
    """The null engine's runner, with answers of its own where it is called by another thread than the main one."""

    def __init__(self, runner: Runner) -> None:
        self.signature, self.concurrency, self.precision = runner.signature, runner.concurrency, runner.precision
        self._runner = runner
        self.seen = Counter[bytes]()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        CLOCK.now += MS
        wrong = threading.current_thread() is not threading.main_thread()
        return {name: array + np.float32(wrong) for name, array in self._runner.run(inputs).items()}


class Caching(Hurried):
    """Takes 20 ms more for an input that it does not know."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        key = next(iter(inputs.values())).tobytes()
        self.seen[key] += 1
        CLOCK.now += 20 * MS * (self.seen[key] == 1)
        return super().run(inputs)


CLOCK = ThreadClock()
HURRIED = "answers given while timing are not those of a calm run"
CACHED = "the same input repeated is 2000 % faster: something caches answers"


@pytest.mark.parametrize(
    ("kind", "in_flight", "failed", "short", "said"),
    [
        (Hurried, 2, "timed_answers", "other answers", HURRIED),
        (Caching, 1, "repeated_input", "cached?", CACHED),
    ],
)
def test_speeds_of_other_answers_or_of_a_cache_are_marked(
    kind: type[Hurried],
    in_flight: int,
    failed: str,
    short: str,
    said: str,
    call: Call,
    null_path: Path,
    null_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = NullEngine.open

    @contextmanager
    def opened(self: NullEngine, model: Artifact, build: Build, launch: Launch) -> Iterator[Hurried]:
        with honest(self, model, build, launch) as runner:
            yield kind(runner)

    monkeypatch.setattr(NullEngine, "open", opened)
    monkeypatch.setattr(bench_module.bench, "__defaults__", (CLOCK,))
    words = (null_path, "--weights", null_weights, "--engine", "null", "--batch", 2, "--duration", 0.1)
    answer = call("bench", *words, "--concurrency", in_flight, "--json")
    value = answer.json
    assert answer.code == 0
    verdicts = {check["name"]: check["verdict"] for check in value["checks"]}
    assert verdicts == {"timed_answers": "pass", "repeated_input": "pass"} | {failed: "fail"}
    (warning,) = value["speed_warnings"]
    assert warning.startswith(said)
    marked = [point for point in value["points"] if short in {flag["short"] for flag in point["flags"]}]
    # One run in flight is called by the main thread.
    assert [point["in_flight"] for point in marked] == [in_flight]
    if kind is Hurried:
        assert marked[0]["answers"]["differ"] == marked[0]["answers"]["held"] > 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (BenchRequest(), "bench of what"),
        (BenchRequest("moco-v2", weights=Path("w"), model=Path("m.onnx")), "both given"),
        (BenchRequest(model=Path("m.onnx"), variant="v"), "--variant"),
        (BenchRequest("moco-v2", duration=0), "--duration 0"),
        (BenchRequest("moco-v2", precision="int8"), "calibrate"),
        (BenchRequest(model=Path("m.onnx"), calibration=Path("d")), "--calibration"),
        (BenchRequest("moco-v2", duration=float("nan")), "--duration nan"),
        (BenchRequest("moco-v2", concurrency=0), "--concurrency 0"),
        (BenchRequest("moco-v2", threads=0), "--threads 0"),
        (BenchRequest("moco-v2", threads=10**6), "--threads 1000000: this machine has"),
        (BenchRequest("moco-v2", concurrency=10**6), "--concurrency 1000000"),
        (BenchRequest("moco-v2", seed=-1), "--seed -1"),
        (BenchRequest("moco-v2", batches=(0, 1)), "--batch"),
        (BenchRequest(model=Path("nowhere.onnx")), "no such file"),
        (BenchRequest(model=Path("weights.pth")), "not a model file"),
    ],
)
def test_wrong_usage_is_one_message(request_: BenchRequest, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench(request_, Silent())
