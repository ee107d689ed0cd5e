"""Samples → batches of views, made ahead by threads, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import BadSampleError, UsageError
from modelport.core.values import Batch, RowId, Sample
from modelport.data.prepare.stage_clock import StageClock
from modelport.data.prepare.views import Views
from modelport.data.sets.cifar10 import Cifar10

_Row = tuple[Sample, int]


def stream_views(
    samples: Iterable[Sample],
    views: Views,
    *,
    input_name: str,
    batch: int,
    seed: int,
    ahead: int = 2,
    workers: int = 1,
    clock: StageClock | None = None,
) -> Generator[Batch, None, None]:
    """Yield two views of each sample, in order, as rows of batches ``{input_name: (batch, *views.shape)}``.

    A row's id is ``ID#0`` or ``ID#1``, its target the sample's label, its digest the content's sha256 with the same
    ending; an odd ``batch`` parts a sample's views. The last batch repeats its first row up to the full size.
    ``workers`` threads make at most ``ahead`` batches beyond the one that the caller has; the arrays are the
    caller's to keep. The threads end with the generator: leave it early through ``contextlib.closing``. ``clock``
    takes what the threads compute. Raises BadSampleError for content of a wrong length.
    """
    rows = ((sample, view) for sample in samples for view in (0, 1))
    timed = clock or StageClock()

    def make(taken: list[_Row]) -> Batch:
        begun = timed.begin()
        made = _pack(taken, views, input_name, batch, seed, numbered=True, decoded=timed.decoded)
        timed.end(begun, len(taken))
        return made

    return _stream(rows, make, batch, ahead, workers)


def plain_batches(
    samples: Iterable[Sample], views: Views, *, input_name: str, batch: int, ahead: int = 2, workers: int = 1
) -> Generator[Batch, None, None]:
    """Yield the samples as they are, in batches like those of ``stream_views``; ids and digests are the samples' own.

    ``views`` must have no random step. Raises UsageError where it has one, BadSampleError as ``stream_views``.
    """
    if views.random:
        raise UsageError("random steps where images are wanted as they are", "give decode_raw and normalize only")

    def make(taken: list[_Row]) -> Batch:
        return _pack(taken, views, input_name, batch, 0, numbered=False, decoded=lambda: None)

    return _stream(((sample, 0) for sample in samples), make, batch, ahead, workers)


def training_views(
    samples: Cifar10, views: Views, *, pairs: int, steps: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield ``steps`` batches float32 (2 · pairs, 3, H, W) of two views of random images, the two adjacent.

    Each round goes through the images in an order of its own, none twice. A thread makes the next batch while the
    caller has one. Raises UsageError where there are fewer images than ``pairs``.
    """
    if len(samples) < pairs:
        raise UsageError(f"{len(samples)} training images, and {pairs} are wanted at a time", "give more of them")
    made = _training_views(samples, views, pairs, steps, seed)
    with ThreadPoolExecutor(1, thread_name_prefix="modelport-views") as pool:
        coming = pool.submit(next, made, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield batch


def _training_views(samples: Cifar10, views: Views, pairs: int, steps: int, seed: int) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    rounds = len(samples) // pairs
    order = np.arange(0)
    for step in range(steps):
        if step % rounds == 0:
            order = rng.permutation(len(samples))
        chosen = np.repeat(order[step % rounds * pairs :][:pairs], 2)
        # The step is part of the key: an image that comes again has other views.
        yield views.make(samples.images[chosen], [f"{step} {index}" for index in chosen], [0, 1] * pairs, seed)


def _stream(
    rows: Iterator[_Row], make: Callable[[list[_Row]], Batch], batch: int, ahead: int, workers: int
) -> Generator[Batch, None, None]:
    for option, value in (("batch", batch), ("workers", workers), ("ahead", ahead)):
        if value < 1:
            raise UsageError(f"{option} of {value}", f"give a {option} of at least 1")
    return _work_ahead(rows, make, batch, ahead, workers)


def _work_ahead(
    rows: Iterator[_Row], make: Callable[[list[_Row]], Batch], batch: int, ahead: int, workers: int
) -> Generator[Batch, None, None]:
    flights: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="modelport-views")

    def launch() -> None:
        while len(flights) < ahead and (taken := list(islice(rows, batch))):
            flights.append(pool.submit(make, taken))

    try:
        launch()
        while flights:
            landed = flights.popleft().result()
            launch()
            yield landed
    finally:
        pool.shutdown(cancel_futures=True)


def _pack(
    rows: list[_Row],
    views: Views,
    input_name: str,
    batch: int,
    seed: int,
    *,
    numbered: bool,
    decoded: Callable[[], None],
) -> Batch:
    """Make a batch of rows (in a worker thread); ``decoded`` is called when their bytes are read."""
    contents = [sample.read() for sample, _ in rows]
    for (sample, _), content in zip(rows, contents, strict=True):
        if len(content) != views.bytes_per_image:
            raise BadSampleError(
                f"{sample.path}: {sample.id}: {len(content)} bytes, not {views.bytes_per_image}", "mend the data set"
            )
    pixels = np.frombuffer(b"".join(contents), np.uint8).reshape(len(rows), -1)
    digests = [sample.sha256 or digest_bytes(content) for (sample, _), content in zip(rows, contents, strict=True)]
    decoded()
    inputs = np.empty((batch, *views.shape), views.dtype)
    inputs[: len(rows)] = views.make(pixels, [sample.id for sample, _ in rows], [view for _, view in rows], seed)
    inputs[len(rows) :] = inputs[0]
    return Batch(
        ids=tuple(RowId(sample.id, view if numbered else None) for sample, view in rows),
        inputs={input_name: inputs},
        targets=tuple(sample.target for sample, _ in rows),
        digests=tuple(digests),
        facts=tuple(sample.facts or {} for sample, _ in rows),
    )
