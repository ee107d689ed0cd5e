"""Samples are answered block by block, first by the source and then by the engine, until what was seen is enough."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from modelport.core.progress import SILENT
from modelport.engines.base import Build, Runner
from modelport.engines.source import Source
from modelport.evaluate.answer import Outcome, Pass, answer_with_source, live_rows, warmed_up
from modelport.evaluate.score import Scoring, score
from modelport.evaluate.store import SourceAnswers
from modelport.tasks.scoring import Rows
from modelport.verdict.sequential import Stop

# Samples that source and engine answer in turn: enough to keep both busy, few enough that little is answered in vain.
BLOCK = 128


@dataclass(slots=True)
class KeptOpen:
    """The source, opened when it is first needed, and then open as long as ``held`` is."""

    source: Source
    held: ExitStack
    _runner: list[Runner] = field(default_factory=list)

    @property
    def batch(self) -> int | None:
        """The only batch that it takes; None: any."""
        return self.source.batch

    @contextmanager
    def open(self, build: Build) -> Iterator[Runner]:
        """Yield its runner, the same each time."""
        if not self._runner:
            self._runner.append(self.held.enter_context(self.source.open(build)))
        yield self._runner[0]


def score_until_decided(
    job: Pass,
    runner: Runner,
    source: Source,
    answers: SourceAnswers,
    stop: Stop,
    predictions: Path,
    weights: Mapping[str, float] | None = None,
) -> Outcome:
    """Run source and engine over the samples in their order, score both, and write ``predictions``.

    ``weights`` by sample, where some are drawn more often than others. It ends with the samples, or as soon as ``stop``
    has seen enough. Raises BadSampleError.
    """
    outcome = warmed_up(job, runner)
    with (
        job.progress.bar("until decided", job.rows, "images") as bar,
        ExitStack() as held,
        closing(_rows(job, runner, KeptOpen(source, held), answers, outcome)) as rows,
    ):

        def advance(count: int) -> None:
            bar.advance(count)
            bar.say(stop.told)

        how = Scoring(job.task, True, job.full_set, predictions, advance, job.labels, stop, weights)
        outcome.scored = score(rows, how)
    outcome.scored.skipped = outcome.skipped
    return outcome


def _rows(
    job: Pass, runner: Runner, source: KeptOpen, answers: SourceAnswers, outcome: Outcome
) -> Generator[Rows, None, None]:
    assert job.build.batch is not None
    size = -(-BLOCK // job.build.batch) * job.build.batch
    for start in range(0, len(job.samples), size):
        block = replace(job, samples=job.samples[start : start + size], progress=SILENT)
        answer_with_source(block, source, answers)
        with closing(live_rows(block, runner, answers, outcome)) as rows:
            yield from rows
