"""One fold for all rows, whoever answered: a runner just now, saved files, or the source's cache."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from modelport.core.artifacts import written_aside
from modelport.core.errors import DataError
from modelport.data.sets.selection import Uniques
from modelport.data.stream.batches import Fingerprint
from modelport.evaluate.sample_log import SAMPLES, SampleLog
from modelport.tasks.base import Task
from modelport.tasks.judged import Judged
from modelport.tasks.scoring import Figures, Rows, Ties
from modelport.verdict.sequential import Stop
from modelport.verdict.soundness import Soundness


@dataclass(slots=True)
class Scored:
    """What was found out about which samples."""

    soundness: Soundness
    ties: Ties
    figures: Figures = field(default_factory=lambda: Figures({}, None))
    ids: list[str] = field(default_factory=list)  # samples counted
    skipped: list[str] = field(default_factory=list)  # samples that could not be read
    fingerprint: str = ""
    duplicates: dict[str, str] = field(default_factory=dict)  # sample → an earlier one of the same content
    labels: bool = True  # whether what labels decide is among the figures
    samples: Path | None = None  # samples.jsonl
    planned: int | None = None  # samples that could have been drawn; None: all that there were
    stop: Stop | None = None  # what could end the run, with what it has seen
    rows: int = 0  # that came, those of repeated contents too
    scoring_ns: int = 0  # CPU time of scoring and writing them, without the figures at the end

    @property
    def n(self) -> int:
        """Samples counted."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Scoring:
    """How rows are scored. ``advance`` is told how many rows came."""

    task: Task
    against_source: bool
    full_set: bool  # the whole published set: what is there twice counts twice, as published
    predictions: Path
    advance: Callable[[int], None] = lambda rows: None
    labels: bool = True  # whether labels are looked at, where the task does
    stop: Stop | None = None  # ends the scoring where what was seen is enough
    weights: Mapping[str, float] | None = None  # by sample, where some are drawn more often than others


def score(rows: Iterable[Rows], how: Scoring) -> Scored:
    """Score rows in their order, each content once, and write a line for each sample to ``how.predictions``.

    Beside it go the lines of ``samples.jsonl``.

    Every road ends here, so that what is noticed on one is noticed on all: answers that are not finite or do not vary,
    ties, repeated contents. Raises DataError where no sample was scored.
    """
    blind = how.task.needs_labels and not how.labels
    beside = how.predictions.with_name(SAMPLES)
    found = Scored(Soundness(how.task), Ties() if blind else how.task.ties(), labels=not blind)
    found.stop, found.samples = how.stop, beside
    scorer = how.task.unlabelled_scorer(how.against_source) if blind else how.task.scorer(how.against_source)
    fingerprint, uniques = Fingerprint(), Uniques(keep_all=how.full_set)
    with (
        written_aside(how.predictions) as aside,
        aside.open("w", encoding="utf-8") as lines,
        written_aside(beside) as sample_lines,
        sample_lines.open("w", encoding="utf-8") as samples,
    ):
        log = SampleLog(how.task, samples, not blind, how.weights)
        for chunk in _timed(rows, found):
            how.advance(len(chunk.ids))
            chunk = _counted_once(chunk, uniques)
            if not chunk.ids:
                continue
            looked_at = chunk.targets if how.task.needs_labels and not blind else ()
            found.soundness.take(chunk.ids, chunk.outputs, chunk.source, looked_at)
            if found.ties.counts:
                found.ties.take(dict(chunk.outputs), chunk.targets)
            log.expect(chunk)
            judged = _write(lines, log, scorer.take(chunk))
            for row, digest in zip(chunk.ids, chunk.digests, strict=True):
                if row.view == 0:
                    found.ids.append(row.sample)
                    fingerprint.update(row.sample, digest)
            if how.stop is not None and how.stop.take(judged):
                break
        _write(lines, log, scorer.finish())
    if not found.ids:
        raise DataError("no sample could be scored", "check --data: every image was skipped")
    found.figures, found.duplicates = scorer.figures(), uniques.repeated
    found.fingerprint = fingerprint.hexdigest()
    return found


def _timed(rows: Iterable[Rows], found: Scored) -> Iterator[Rows]:
    """Yield rows, and count how long this thread computes with each before it asks for the next."""
    for chunk in rows:
        begun = time.thread_time_ns()
        yield chunk
        found.scoring_ns += time.thread_time_ns() - begun
        found.rows += len(chunk.ids)


def _counted_once(rows: Rows, uniques: Uniques) -> Rows:
    """Return the rows whose content no earlier sample has brought."""
    kept = uniques.kept((row.sample for row in rows.ids), rows.digests)
    return rows if all(kept) else rows.where(kept)


def _write(lines: TextIO, log: SampleLog, records: list[dict[str, Any]]) -> list[Judged]:
    lines.writelines(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    return log.write(records)
