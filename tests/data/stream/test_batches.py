"""Batches: order, padding, skipping, bounds; how they are made never changes what they hold."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError, DataError, UsageError
from modelport.core.values import Batch, Sample, TensorSpec
from modelport.data.prepare.stage_clock import StageClock
from modelport.data.prepare.transforms import Preprocess
from modelport.data.stream.batches import Fingerprint, stream_batches
from modelport.recipes.load import load_recipe

SHAPE = (3, 2, 2)
ROW = TensorSpec("x", "float32", SHAPE)


class Numbers:
    """Prepares a sample whose content is a number: every pixel is that number, ``bad`` cannot be decoded."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen = 0

    def __call__(self, content: bytes, name: str, out: NDArray[np.float32], facts: dict[str, Any]) -> None:
        self.seen += 1
        # The later of two neighbours is the faster, so that an order kept by chance does not last.
        time.sleep(self.seconds * (self.seen % 2))
        if content.startswith(b"bad"):
            raise BadSampleError(f"{name}: cannot be decoded")
        if content == b"bug":
            raise ZeroDivisionError
        out[...] = float(content)


def numbers(count: int, **replaced: bytes) -> list[Sample]:
    """Return samples 0 … count-1; ``_3=b"bad"`` replaces the content of sample 3."""
    return [
        Sample(f"s{index}", index * 10, Path("data"), replaced.get(f"_{index}", str(index).encode()))
        for index in range(count)
    ]


def pass_over(sample: Sample, error: BadSampleError) -> None:
    """Skip a bad sample without a word."""


def stream(samples: Any, prepare: Any = None, batch: int = 4, workers: int = 3, **options: Any) -> list[Batch]:
    prepare = prepare or Numbers()
    return list(stream_batches(samples, prepare, ROW, batch=batch, workers=workers, **options))


def flattened(batches: list[Batch]) -> list[tuple[str, int, float, str]]:
    return [
        (id, target, float(row[0, 0, 0]), digest)
        for batch in batches
        for id, target, row, digest in zip(
            batch.ids, batch.targets, batch.inputs["x"][: len(batch.ids)], batch.digests, strict=True
        )
    ]


def worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("modelport-data")]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert worker_threads() == []


@pytest.mark.parametrize("batch", [1, 3, 4, 11, 20])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("ahead", [1, 3])
def test_batch_workers_and_ahead_change_nothing(batch: int, workers: int, ahead: int) -> None:
    batches = stream(numbers(11), Numbers(seconds=0.002), batch, workers, ahead=ahead)
    digest = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(11)]
    assert flattened(batches) == [(f"s{index}", index * 10, float(index), digest[index]) for index in range(11)]
    assert [len(made.ids) for made in batches[:-1]] == [batch] * (len(batches) - 1)
    assert {made.inputs["x"].shape for made in batches} == {(batch, *SHAPE)}
    assert {made.inputs["x"].dtype for made in batches} == {np.dtype(np.float32)}


def test_short_last_batch_repeats_its_first_row() -> None:
    last = stream(numbers(6))[-1]
    assert last.ids == ("s4", "s5")
    assert last.inputs["x"][:, 0, 0, 0].tolist() == [4, 5, 4, 4]


@pytest.mark.parametrize("bad", [[0], [3, 4], [0, 1, 2, 3], [9, 10], [1, 3, 5, 7, 9]])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_skipping_equals_leaving_out(bad: list[int], batch: int) -> None:
    samples = numbers(11, **{f"_{index}": b"bad" for index in bad})
    skipped: list[str] = []
    batches = stream(samples, batch=batch, skip=lambda sample, error: skipped.append(sample.id))
    good = [sample for sample in numbers(11) if int(sample.id[1:]) not in bad]
    expected = stream(good, batch=batch)
    assert skipped == [f"s{index}" for index in bad]
    assert [made.ids for made in batches] == [made.ids for made in expected]
    for made, want in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(made.inputs["x"], want.inputs["x"])
        assert (made.targets, made.digests) == (want.targets, want.digests)


def test_all_bad_and_none_at_all_give_no_batch() -> None:
    assert stream(numbers(5, _0=b"bad", _1=b"bad", _2=b"bad", _3=b"bad", _4=b"bad"), skip=pass_over) == []
    assert stream([]) == []


def test_first_bad_sample_in_order_fails_the_run() -> None:
    batches = stream_batches(numbers(40, _6=b"bad", _5=b"bad"), Numbers(), ROW, batch=4, workers=4)
    assert next(batches).ids == ("s0", "s1", "s2", "s3")
    with pytest.raises(BadSampleError, match="data: s5: cannot be decoded"):
        next(batches)
    assert worker_threads() == []


def test_other_errors_are_never_skipped(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        stream(numbers(9, _2=b"bug"), skip=pass_over)

    def broken() -> Iterator[Sample]:
        yield from numbers(6)
        raise DataError("the source broke")

    with pytest.raises(DataError, match="the source broke"):
        stream(broken(), skip=pass_over)


def test_unreadable_files_are_bad_samples(tmp_path: Path) -> None:
    samples = [*numbers(2), Sample("gone", 0, tmp_path / "gone.jpg")]
    with pytest.raises(BadSampleError, match=r"gone\.jpg"):
        stream(samples)
    assert [made.ids for made in stream(samples, skip=pass_over)] == [("s0", "s1")]


@pytest.mark.parametrize("leave", ["close", "error", "interrupt"])
def test_leaving_early_ends_the_threads_and_the_reading(leave: str) -> None:
    prepare = Numbers(seconds=0.02)
    left = {"close": GeneratorExit, "error": ValueError, "interrupt": KeyboardInterrupt}[leave]
    with (
        contextlib.suppress(left),
        contextlib.closing(stream_batches(iter(numbers(1000)), prepare, ROW, batch=4, workers=1)) as batches,
    ):
        next(batches)
        assert worker_threads()
        raise left
    assert worker_threads() == []
    assert prepare.seen < 12


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_than_the_bound_is_taken_ahead(ahead: int) -> None:
    taken = 0

    def source() -> Iterator[Sample]:
        nonlocal taken
        for sample in numbers(60, _1=b"bad", _17=b"bad"):
            taken += 1
            yield sample

    used = 0
    for batch in stream_batches(source(), Numbers(), ROW, batch=4, workers=4, ahead=ahead, skip=pass_over):
        used += len(batch.ids)
        time.sleep(0.005)
        # Two were skipped; with a batch begun there may be up to three rows besides. Two rows more for each worker.
        assert taken - used <= (ahead + 2) * 4 + 3 + 2
    assert taken == 60


def test_reading_goes_on_while_the_caller_works() -> None:
    prepare = Numbers(0.05)  # so slow that the first batch has to be waited for
    with contextlib.closing(stream_batches(numbers(40), prepare, ROW, batch=4, workers=2, ahead=2)) as batches:
        next(batches)
        deadline = time.monotonic() + 10
        # One batch is taken, two are ahead, and one more since the first was waited for.
        while prepare.seen < 16 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert prepare.seen == 16


def test_more_is_read_ahead_only_where_the_caller_waits() -> None:
    prepare = Numbers()
    with contextlib.closing(stream_batches(numbers(400), prepare, ROW, batch=1, workers=2, ahead=2)) as batches:
        next(batches)
        for taken in range(2, 6):
            deadline = time.monotonic() + 10
            while prepare.seen < taken + 1 and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.02)  # for the one that the start may have added
            ahead = prepare.seen - (taken - 1)
            next(batches)
        # All were there when they were asked for: at most the one of the start has been added.
        assert ahead <= 3


def test_the_callers_arrays_stay_as_they_are() -> None:
    batches = stream(numbers(40, _9=b"bad"), batch=4, skip=pass_over)
    assert len({id(batch.inputs["x"]) for batch in batches}) == len(batches)
    assert not any(np.shares_memory(one.inputs["x"], other.inputs["x"]) for one, other in itertools.pairwise(batches))


@pytest.mark.parametrize("option", ["batch", "workers", "ahead"])
def test_numbers_below_one_are_refused_at_once(option: str) -> None:
    numbers_given: dict[str, Any] = {"batch": 2, "workers": 2, "ahead": 2, option: 0}
    with pytest.raises(UsageError, match=f"{option} of 0"):
        stream_batches([], Numbers(), ROW, **numbers_given)


def test_real_images_come_as_they_are_prepared_alone() -> None:
    prepare = Preprocess(load_recipe("moco-v2").preprocess)
    paths = sorted((Path(__file__).parents[2] / "golden" / "images").iterdir())
    stream_of = io.BytesIO()
    Image.new("RGB", (50, 60), "red").save(stream_of, "PNG")
    samples = [Sample(path.stem, 0, path) for path in paths] + [Sample("red", 1, Path("a.tar"), stream_of.getvalue())]
    (batch, last) = stream_batches(
        samples, prepare.into, TensorSpec("image", "float32", (3, 224, 224)), batch=8, workers=4
    )
    rows = [*batch.inputs["image"], *last.inputs["image"]]
    for row, sample in zip(rows, samples, strict=False):
        np.testing.assert_array_equal(row, prepare.tensor(sample.read(), "x"))


def test_fingerprint_is_of_the_set_not_of_its_order() -> None:
    pairs = [("b", "2" * 64), ("a", "1" * 64), ("c", "3" * 64)]
    one, left, right = Fingerprint(), Fingerprint(), Fingerprint()
    for id, digest in pairs:
        one.update(id, digest)
    left.update(*pairs[2])
    right.update(*pairs[1])
    right.update(*pairs[0])
    left.merge(right)
    lines = "".join(f"{id} {digest}\n" for id, digest in sorted(pairs))
    assert one.hexdigest() == left.hexdigest() == hashlib.sha256(lines.encode()).hexdigest()
    assert len(left) == 3
    left.update("d", "4" * 64)
    assert left.hexdigest() != one.hexdigest()


def _spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_the_clock_parts_decoding_from_the_rest_and_counts_neither_waiting_nor_bad_samples() -> None:
    clock = StageClock()

    def prepare(content: bytes, name: str, out: NDArray[np.float32], facts: dict[str, Any]) -> None:
        if content == b"bad":
            _spin(0.05)
            raise BadSampleError(name)
        _spin(0.004)
        time.sleep(0.02)
        clock.decoded()
        _spin(0.001)

    stream(numbers(6, _2=b"bad"), prepare, workers=3, skip=pass_over, clock=clock)
    assert clock.rows == 5
    decode, resize = clock.decode_ns / 5 / 1e6, clock.resize_ns / 5 / 1e6
    assert 4 <= decode < 8 and 1 <= resize < 3


@pytest.mark.parametrize("fast", [False, True])
def test_a_large_photograph_takes_its_time_to_decode(fast: bool) -> None:
    """Whatever decodes it lazily: the pixels are there before the clock is told so."""
    stream, steps = io.BytesIO(), load_recipe("moco-v2").preprocess
    Image.effect_noise((1600, 1200), 60).convert("RGB").save(stream, "JPEG", quality=95)
    clock = StageClock()
    prepare = Preprocess(steps, fast=fast, clock=clock)
    out = np.empty((3, 224, 224), np.float32)
    prepare.into(stream.getvalue(), "x", out)
    for _ in range(3):
        begun = clock.begin()
        prepare.into(stream.getvalue(), "x", out)
        clock.end(begun)
    assert clock.rows == 3 and clock.decode_ns > clock.resize_ns > 0
