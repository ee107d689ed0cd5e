"""One way through the data: first with the source model where its answers are missing, then with the engine."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import BadSampleError
from modelport.core.progress import Progress
from modelport.core.values import Array, Batch, RowId, Sample, Tensors
from modelport.data.prepare.stage_clock import StageClock
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build, Runner
from modelport.evaluate.decoders import ROWS, Decoders, enough_decoders
from modelport.evaluate.loop import run_batches
from modelport.evaluate.score import Scored, Scoring, score
from modelport.evaluate.store import SourceAnswers, split_rows, stack_rows
from modelport.measure.timing import Clocks
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task
from modelport.tasks.scoring import Rows, Ties
from modelport.verdict.soundness import Soundness

# Rows that are scored at a time, unless their outputs are large: called after every small batch, the scorer would find
# the processor's caches full of the engine's weights, and take three times as long.
SCORED_TOGETHER = 32
LARGE_OUTPUTS = 4 * 1024 * 1024  # bytes
# Nor longer than this: the bar must move.
PATIENCE = 0.5  # seconds
# A way through the data of fewer batches for each run in flight would not win back another run of each, to be timed.
WORTH_TIMING = 50


@dataclass(frozen=True, slots=True)
class Pass:
    """What both ways through the data share."""

    recipe: Recipe
    samples: Sequence[Sample]
    build: Build
    task: Task
    seed: int
    on_bad: Literal["fail", "skip"]
    progress: Progress
    pixels: bool = False  # the engine's graph takes uint8 pixels; the source model never does
    fast: bool = False  # the engine gets images that were resized the quicker way; the source model never does
    full_set: bool = False  # the whole published set: what is there twice counts twice, as published
    labels: bool = True  # whether they are looked at

    @property
    def rows(self) -> int:
        """How many rows the model gets."""
        return len(self.samples) * self.recipe.dataset.views


@dataclass(slots=True)
class Outcome:
    """How an engine answered, and what was found by scoring that."""

    precision: str
    batch: int
    in_flight: int
    decoders: Decoders
    notes: tuple[str, ...] = ()  # what the runner had to say
    clocks: Clocks = field(default_factory=Clocks)
    rows: int = 0
    skipped: list[str] = field(default_factory=list)
    scored: Scored = field(default_factory=lambda: Scored(Soundness(), Ties()))


class Answering(Protocol):
    """What opens the source model."""

    @property
    def batch(self) -> int | None:
        """The only batch that it takes; None: any."""

    def open(self, build: Build) -> AbstractContextManager[Runner]:
        """Open it at a batch."""


def answer_with_source(job: Pass, source: Answering, answers: SourceAnswers) -> None:
    """Run the source model over the samples whose answers are not yet kept."""
    begun_anew = answers.times_begun_anew
    _answer_missing(job, source, answers)
    if answers.times_begun_anew != begun_anew:
        # What was found kept before is gone with the damaged store.
        _answer_missing(job, source, answers)


def _answer_missing(job: Pass, source: Answering, answers: SourceAnswers) -> None:
    build = replace(job.build, recipe=job.recipe, precision="fp32", batch=source.batch or job.build.batch)
    job = replace(job, build=build, pixels=False, fast=False)
    with job.progress.bar("source model", job.rows, "images") as bar:

        def missing() -> Iterator[Sample]:
            for sample in job.samples:
                try:
                    content = sample.read()
                except BadSampleError:
                    if job.on_bad == "fail":
                        raise
                    continue  # counted when the engine comes to it
                digest = digest_bytes(content)
                if _is_answered(job, sample, digest, answers):
                    bar.advance(job.recipe.dataset.views)
                else:
                    yield replace(sample, content=content, sha256=digest)

        samples = missing()
        # Where nothing is missing the source model is not even read.
        first = next(samples, None)
        if first is None:
            job.progress.detail("source model: every answer from the cache")
            return
        with source.open(build) as runner, closing(_batches(job, chain([first], samples), None)) as batches:
            for batch, outputs in run_batches(runner, batches, Clocks()):
                answers.put(dict(zip(_answer_keys(job, batch), split_rows(outputs, len(batch.ids)), strict=True)))
                bar.advance(len(batch.ids))


def _is_answered(job: Pass, sample: Sample, digest: str, answers: SourceAnswers) -> bool:
    views = job.recipe.dataset.views
    if views == 1:
        return answers.holds(digest)
    return all(answers.holds(f"{digest} {RowId(sample.id, view)}") for view in range(views))


def score_with_engine(job: Pass, runner: Runner, answers: SourceAnswers | None, predictions: Path) -> Outcome:
    """Run the engine over all samples, score it and the source's kept answers, and write ``predictions``."""
    outcome = warmed_up(job, runner)
    with (
        job.progress.bar("evaluating", job.rows, "images") as bar,
        closing(live_rows(job, runner, answers, outcome)) as rows,
    ):
        how = Scoring(job.task, answers is not None, job.full_set, predictions, bar.advance, job.labels)
        outcome.scored = score(rows, how)
    outcome.scored.skipped = outcome.skipped
    return outcome


def warmed_up(job: Pass, runner: Runner) -> Outcome:
    """Warm the runner up, measure how many threads must decode beside it, and return the outcome, still empty."""
    assert job.build.batch is not None
    decoders = enough_decoders(_warm_up(runner, job), _first_batches(job))
    return Outcome(runner.precision, job.build.batch, runner.concurrency, decoders, getattr(runner, "notes", ()))


def live_rows(
    job: Pass, runner: Runner, answers: SourceAnswers | None, outcome: Outcome
) -> Generator[Rows, None, None]:
    """Yield what the engine answers, in the samples' order, beside the source's kept answers.

    ``outcome`` takes clocks, rows and skipped samples. Leave it through ``contextlib.closing``.
    """
    clocks = outcome.clocks
    with closing(_batches(job, iter(job.samples), outcome.skipped, outcome.decoders.count, clocks.prepared)) as batches:
        for batch, outputs in _together(run_batches(runner, batches, clocks)):
            outcome.rows += len(batch.ids)
            begun = time.thread_time_ns()
            source = _kept(job, answers, batch)
            clocks.looked_up += time.thread_time_ns() - begun
            yield Rows(batch.ids, batch.targets, outputs, source, batch.placements, batch.digests, batch.facts)


def _together(answered: Iterator[tuple[Batch, Tensors]]) -> Iterator[tuple[Batch, Tensors]]:
    """Yield batches with their outputs, small ones joined; the inputs are let go."""
    held: list[tuple[Batch, Tensors]] = []
    rows, size, since = 0, 0, time.monotonic()
    for batch, outputs in answered:
        held.append((replace(batch, inputs={}), outputs))
        rows += len(batch.ids)
        size += sum(array.nbytes for array in outputs.values())
        if rows >= SCORED_TOGETHER or size >= LARGE_OUTPUTS or time.monotonic() - since >= PATIENCE:
            yield _joined(held)
            held, rows, size, since = [], 0, 0, time.monotonic()
    if held:
        yield _joined(held)


def _joined(held: Sequence[tuple[Batch, Tensors]]) -> tuple[Batch, Tensors]:
    batches, outputs = zip(*held, strict=True)
    parts = {
        name: tuple(chain.from_iterable(getattr(batch, name) for batch in batches))
        for name in ("ids", "targets", "digests", "placements", "facts")
    }
    return Batch(inputs={}, **parts), {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}


def _kept(job: Pass, answers: SourceAnswers | None, batch: Batch) -> dict[str, Array] | None:
    """Return the source's answers to a batch, None where one is missing."""
    if answers is None:
        return None
    rows = [row for key in _answer_keys(job, batch) if (row := answers.get(key)) is not None]
    return stack_rows(rows) if len(rows) == len(batch.ids) else None


def _batches(
    job: Pass,
    samples: Iterator[Sample],
    skipped: list[str] | None,
    decoders: int | None = None,
    clock: StageClock | None = None,
) -> Generator[Batch, None, None]:
    assert job.build.batch is not None

    def pass_over(sample: Sample, error: BadSampleError) -> None:
        if skipped is not None:
            skipped.append(sample.id)

    return feed(
        job.recipe,
        samples,
        job.build.batch,
        seed=job.seed,
        pixels=job.pixels,
        fast=job.fast,
        workers=decoders,
        skip=pass_over if job.on_bad == "skip" else None,
        clock=clock,
    )


def _first_batches(job: Pass) -> Generator[Batch, None, None]:
    """Return batches of the first samples, made by one thread. Images come one by one: a batch may hold many."""
    assert job.build.batch is not None
    views = job.recipe.dataset.views
    batch = job.build.batch if views > 1 else 1
    first = replace(job, build=replace(job.build, batch=batch), on_bad="skip")
    return _batches(first, iter(job.samples[: -(-(ROWS + batch) // views)]), None, decoders=1)


def _answer_keys(job: Pass, batch: Batch) -> list[str]:
    """Return under what each row's answer is kept: the content alone decides, but for views, drawn per sample."""
    if job.recipe.dataset.views == 1:
        return list(batch.digests)
    return [f"{digest} {row}" for row, digest in zip(batch.ids, batch.digests, strict=True)]


def _warm_up(runner: Runner, job: Pass) -> float | None:
    """Run on zeros, unscored, as many at once as will be in flight: engines allocate on the first run of each.

    Returns the rows/s of as many runs again, None where there is too little to do to time them.
    """
    build, in_flight = job.build, runner.concurrency
    assert build.batch is not None
    zeros = {spec.name: np.zeros([int(axis) for axis in spec.shape], spec.dtype) for spec in build.signature.inputs}
    with ThreadPoolExecutor(in_flight) as pool:

        def run_all() -> float:
            start = time.perf_counter()
            for _ in pool.map(runner.run, [zeros] * in_flight):
                pass
            return time.perf_counter() - start

        run_all()
        worth = job.rows >= WORTH_TIMING * in_flight * build.batch
        return build.batch * in_flight / run_all() if worth else None
