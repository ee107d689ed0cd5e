"""As many threads decode as keep the engine busy, by what was measured of both."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelport.core.progress import Silent
from modelport.core.values import Batch, RowId
from modelport.data.prepare.views import Views
from modelport.data.sets.cifar10 import open_cifar10
from modelport.data.stream.feeding import feed
from modelport.evaluate import answer as scoring_pass
from modelport.evaluate import decoders
from modelport.evaluate.decoders import Decoders, OneThread, enough_decoders, speed_of_one
from modelport.jobs.run import run
from modelport.jobs.run_request import RunRequest
from modelport.recipes.load import load_recipe
from modelport.stages.plan import Wish


def _nothing() -> Generator[Batch, None, None]:
    yield from ()


@pytest.mark.parametrize(
    ("engine", "computing", "count"),
    [
        (1.0, 1.0, 1),
        (66.0, 1.0, 1),
        (67.0, 1.0, 2),
        (200.0, 1.0, 3),
        # More than the cores only where a thread waits for its files, and not without end.
        (5000.0, 1.0, 4),
        (5000.0, 0.5, 8),
        (5000.0, 0.25, 16),
        (200.0, 0.25, 3),
    ],
)
def test_both_speeds_and_the_cores_decide(
    engine: float, computing: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelport.core.machine.cores", lambda: 4)
    monkeypatch.setattr(decoders, "speed_of_one", lambda batches: OneThread(100.0, computing))
    found = enough_decoders(engine, _nothing())
    assert found.count == count
    assert "100 rows/s" in found.how and f"takes {engine:.0f}" in found.how
    assert ("75 would serve it, more than 4 cores" in found.how) == (engine == 5000)


def test_without_a_measurement_there_is_one_for_each_core_and_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelport.core.machine.cores", lambda: 3)
    touched = list[int]()

    def batches(count: int) -> Generator[Batch, None, None]:
        for index in range(count):
            touched.append(index)
            yield Batch((RowId(str(index)),), {}, (0,), ("",))

    unmeasured = batches(5)
    assert enough_decoders(None, unmeasured).count == 3
    assert touched == [] and next(unmeasured, None) is None
    found = enough_decoders(50.0, batches(1))
    assert found.count == 3 and "too few samples" in found.how


@pytest.mark.parametrize(("computing", "told"), [(0.25, 0.25), (0.75, 0.75), (1.0, 1.0), (2.0, 1.0), (0.0, 0.25)])
def test_the_speed_of_one_thread_leaves_out_its_first_batch(
    computing: float, told: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, cpu, taken, closed = 100.0, 7.0, list[int](), list[bool]()

    def batches() -> Generator[Batch, None, None]:
        nonlocal wall, cpu
        try:
            for index in range(1000):
                # The first loads what is loaded once: it must not count.
                wall += 0.125 if index else 50.0
                cpu += 0.125 * computing if index else 50.0
                taken.append(index)
                yield Batch(tuple(map(RowId, "abcd")), {}, (0,) * 4, ("",) * 4)
        finally:
            closed.append(True)

    monkeypatch.setattr(decoders, "time", SimpleNamespace(perf_counter=lambda: wall, process_time=lambda: cpu))
    monkeypatch.setattr(decoders, "SECONDS", 1e9)
    assert speed_of_one(batches()) == OneThread(32.0, told)
    assert closed == [True]
    assert len(taken) == 1 + decoders.ROWS // 4
    taken.clear()
    monkeypatch.setattr(decoders, "SECONDS", 0.2)
    assert speed_of_one(batches()) == OneThread(32.0, told)
    assert len(taken) == 3
    assert speed_of_one(_nothing()) is None


@pytest.mark.slow
def test_run_decodes_with_as_many_and_says_so(
    tiny_path: Path, tiny_data: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, used = list[float | None](), list[int | None]()

    def chosen(engine: float | None, batches: Generator[Batch, None, None]) -> Decoders:
        asked.append(engine)
        # One image a batch, and no more of them than one thread is judged by.
        assert [len(batch.ids) for batch in batches] == [1] * (decoders.ROWS + 1)
        return Decoders(3, "as the test likes")

    def fed(*words: Any, **more: Any) -> Generator[Batch, None, None]:
        used.append(more.get("workers"))
        return feed(*words, **more)

    monkeypatch.setattr(scoring_pass, "WORTH_TIMING", 10)
    monkeypatch.setattr(scoring_pass, "enough_decoders", chosen)
    monkeypatch.setattr(scoring_pass, "feed", fed)
    wish = Wish("onnxruntime", batch=8)
    request = RunRequest(str(tiny_path), tiny_data, tmp_path / "out", weights=tiny_weights, wish=wish)
    result = run(request, Silent())
    assert used[-2:] == [1, 3]
    assert result.further["decoders"] == {"value": 3, "how": "as the test likes"}
    assert "Decoder threads: 3 (as the test likes)" in (tmp_path / "out" / "report.md").read_text()
    # 310 images at batch 8 are enough to time the engine, at batch 64 they are not.
    assert asked[0] is not None and asked[0] > 0
    run(replace(request, wish=replace(wish, batch=64), force=True), Silent())
    assert asked[1] is None


def test_every_thread_has_views_to_make(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, real = threading.Barrier(3), Views.make

    def made(self: Views, images: Any, ids: Sequence[str], numbers: Sequence[int], seed: int) -> Any:
        meeting.wait(timeout=10)
        return real(self, images, ids, numbers, seed)

    monkeypatch.setattr(Views, "make", made)
    samples = open_cifar10(cifar)[:12]
    batches = list(feed(load_recipe("simclr"), samples, 4, seed=0, workers=3))
    assert [len(batch.ids) for batch in batches] == [4] * 6
    assert not any(np.isnan(batch.inputs["input"]).any() for batch in batches)
