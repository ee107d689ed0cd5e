"""Samples → batches: read, digested and decoded ahead by threads, in order, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import BadSampleError, UsageError
from modelport.core.values import Batch, RowId, Sample, TensorSpec
from modelport.data.prepare.stage_clock import StageClock

# Rows that may be prepared further ahead for a caller that takes several small batches at a time.
WAITED_ROWS = 8
# What becomes of a sample that cannot be read, called in order in the caller's thread; None in its place: it is raised.
Skip = Callable[[Sample, BadSampleError], None]


class Prepare(Protocol):
    """What turns bytes into a row, such as ``Preprocess.into``; called by several threads at once.

    Writes the sample into ``out``, one row of a batch, and what is told of it beside into ``facts``, JSON values by
    name; returns where the image lies in the row, or None. Raises BadSampleError naming ``name``.
    """

    def __call__(self, content: bytes, name: str, out: NDArray[Any], facts: dict[str, Any], /) -> Any: ...


class Fingerprint:
    """sha256 of the lines ``ID SHA256``, sorted: which samples with which content, in whatever order they came."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def update(self, id: str, digest: str) -> None:
        """Count one sample by its id and the sha256 of its content."""
        self._lines.append(f"{id} {digest}\n")

    def merge(self, other: Fingerprint) -> None:
        """Count what another fingerprint has counted."""
        self._lines += other._lines

    def __len__(self) -> int:
        return len(self._lines)

    def hexdigest(self) -> str:
        """Return the fingerprint as 64 hexadecimal digits."""
        return hashlib.sha256("".join(sorted(self._lines)).encode()).hexdigest()


def stream_batches(
    samples: Iterable[Sample],
    prepare: Prepare,
    row: TensorSpec,
    *,
    batch: int,
    workers: int,
    ahead: int = 2,
    skip: Skip | None = None,
    clock: StageClock | None = None,
) -> Generator[Batch, None, None]:
    """Yield the samples in order as batches ``{row.name: row.dtype (batch, *row.shape)}``.

    Every batch but the last is full, also where samples were skipped; the last repeats its first row up to the full
    size. ``workers`` threads prepare ``ahead`` batches beyond the one that the caller has, and one more each time that
    the caller had to wait, up to two rows more for each worker, or eight; the arrays are the caller's to keep. The
    threads end with the generator: leave it early through ``contextlib.closing``. Without ``skip`` the first bad
    sample's BadSampleError is raised. ``clock`` takes what the threads compute.
    """
    for option, value in (("batch", batch), ("workers", workers), ("ahead", ahead)):
        if value < 1:
            raise UsageError(f"{option} of {value}", f"give a {option} of at least 1")
    return _stream(samples, _Loader(prepare, row, batch, workers, clock or StageClock()), ahead, skip)


def _stream(
    samples: Iterable[Sample],
    loader: _Loader,
    ahead: int,
    skip: Skip | None,
) -> Generator[Batch, None, None]:
    source = iter(samples)
    flights: deque[list[_Row]] = deque()
    landed: list[_Row] = []
    pool = ThreadPoolExecutor(loader.workers, thread_name_prefix="modelport-data")
    most = ahead + -(-max(2 * loader.workers, WAITED_ROWS) // loader.batch)

    def launch() -> None:
        while len(flights) < ahead and (taken := list(islice(source, loader.batch))):
            flights.append(loader.launch(pool, taken))

    try:
        launch()
        while flights:
            flight = flights.popleft()
            if ahead < most and not all(row.part.done() for row in flight):
                ahead += 1
            landed += _good(flight, skip)
            launch()
            if len(landed) >= loader.batch:
                yield loader.pack(landed)
        if landed:
            yield loader.pack(landed)
    finally:
        pool.shutdown(cancel_futures=True)


Loaded = tuple[str, Any, Mapping[str, Any]]  # sha256 of the content, placement, facts


@dataclass(frozen=True, slots=True)
class _Row:
    """A sample on its way into row ``index`` of ``buffer``, as number ``place`` of a part that one thread loads."""

    sample: Sample
    part: Future[list[Loaded | BadSampleError]]
    place: int
    buffer: NDArray[Any]
    index: int

    def loaded(self) -> Loaded:
        """Wait until the part is there. Raises the sample's BadSampleError."""
        found = self.part.result()[self.place]
        if isinstance(found, BadSampleError):
            raise found
        return found


@dataclass(frozen=True, slots=True)
class _Loader:
    """Reads samples into buffers of one batch each, and makes batches of what arrived."""

    prepare: Prepare
    spec: TensorSpec  # of one row
    batch: int
    workers: int
    clock: StageClock

    def launch(self, pool: ThreadPoolExecutor, samples: list[Sample]) -> list[_Row]:
        """Start to read at most ``batch`` samples into a new buffer."""
        buffer = np.empty([self.batch, *map(int, self.spec.shape)], self.spec.dtype)
        # A part for each worker: handing over every row by itself costs more than a part that is done a little later.
        share, rows = -(-len(samples) // self.workers), list[_Row]()
        for first in range(0, len(samples), share):
            taken = samples[first : first + share]
            part = pool.submit(self._load, taken, buffer[first : first + len(taken)])
            rows += [_Row(sample, part, place, buffer, first + place) for place, sample in enumerate(taken)]
        return rows

    def pack(self, landed: list[_Row]) -> Batch:
        """Take up to ``batch`` rows off the front of ``landed`` and return them as a batch."""
        rows = landed[: self.batch]
        del landed[: self.batch]
        inputs = rows[0].buffer
        # Rows keep their order, so a full batch out of one buffer is that buffer: the way without any copy.
        if len(rows) < self.batch or rows[-1].buffer is not inputs:
            inputs = np.empty_like(inputs)
            for slot, row in enumerate(rows):
                inputs[slot] = row.buffer[row.index]
            inputs[len(rows) :] = inputs[0]
        return Batch(
            ids=tuple(RowId(row.sample.id) for row in rows),
            inputs={self.spec.name: inputs},
            targets=tuple(row.sample.target for row in rows),
            digests=tuple(row.loaded()[0] for row in rows),
            placements=tuple(row.loaded()[1] for row in rows),
            facts=tuple(row.loaded()[2] for row in rows),
        )

    def _load(self, samples: list[Sample], out: NDArray[Any]) -> list[Loaded | BadSampleError]:
        """Read, digest and decode samples into the rows of ``out`` (in a worker thread)."""
        found: list[Loaded | BadSampleError] = []
        for sample, row in zip(samples, out, strict=True):
            try:
                begun = self.clock.begin()
                content = sample.read()
                digest = sample.sha256 or digest_bytes(content)
                name = str(sample.path) if sample.content is None else f"{sample.path}: {sample.id}"
                facts = dict(sample.facts or {})
                placement = self.prepare(content, name, row, facts)
                self.clock.end(begun)
                found.append((digest, placement, facts))
            except BadSampleError as error:
                found.append(error)
        return found


def _good(flight: list[_Row], skip: Skip | None) -> Iterator[_Row]:
    """Yield the rows of a flight as they land; a bad sample goes to ``skip``, or raises where that is None."""
    for row in flight:
        try:
            row.loaded()
        except BadSampleError as error:
            if skip is None:
                raise
            skip(row.sample, error)
        else:
            yield row
