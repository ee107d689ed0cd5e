"""How ``tune`` refines the winning pair: runs in flight, batch and threads, and then end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelport.core import machine
from modelport.engines.base import Launch
from modelport.engines.registry import opened
from modelport.jobs.tune.search import SPEED_SAMPLES, Pair, Search, pure_speed
from modelport.verdict.chance import AGREEMENT
from modelport.verdict.words import FAIL, PASS

# Settings that go from the probe to a way through the data.
FINALISTS = 2


@dataclass(slots=True)
class Point:
    """One setting that was measured."""

    pair: Pair
    batch: int
    in_flight: int
    threads: int
    probed: float  # samples/s, pure inference
    end_to_end: float | None = None  # samples/s
    unsound: tuple[str, ...] = ()  # why its answers, with this batch and so many runs in flight, are not the pair's

    @property
    def accepted(self) -> bool:
        """Whether it may be chosen."""
        return self.pair.accepted and not self.unsound

    @property
    def why(self) -> str:
        """What was found of its accuracy."""
        return "; ".join([self.pair.why, *self.unsound])


def refine(search: Search, pairs: Sequence[Pair]) -> list[Point]:
    """Probe batch sizes and runs in flight of the fastest accepted pair, and take the best of them through the data."""
    winner = next(pair for pair in pairs if pair.accepted)
    cores = machine.cores()
    points = [_scored_point(pair) for pair in pairs if pair.outcome is not None]
    fresh = _climbed(search, winner) if winner.engine.consumes & {"onnx"} else []
    fresh.sort(key=lambda point: (bool(point.unsound), -point.probed))
    for point in fresh[:FINALISTS]:
        _take_through(search, point)
    if fresh:
        # Fewer threads leave cores to the decoders: what pure speed says nothing of.
        best = max(fresh[:FINALISTS], key=lambda point: point.end_to_end or 0.0)
        for threads in sorted({cores // 2, cores - 1} - {0, cores}):
            fewer = _probe(search, winner, best.batch, min(best.in_flight, threads), threads)
            if fewer is not None:
                fresh.append(fewer)
                # What is slower by itself is not faster with decoders beside it.
                if fewer.probed > (best.end_to_end or 0.0):
                    _take_through(search, fewer)
    return [*points, *fresh]


def _climbed(search: Search, winner: Pair) -> list[Point]:
    """Probe one run in flight and one per core at the recipe's batch, then other batches while they gain."""
    cores, start = machine.cores(), search.recipe.run.batch
    batches = sorted(search.task.tuned_batches)
    found = [_probe(search, winner, start, in_flight, cores) for in_flight in sorted({1, cores})]
    points = [point for point in found if point is not None]
    if not points:
        return []
    best = max(points, key=lambda point: point.probed)
    larger, smaller = [size for size in batches if size > start], [size for size in reversed(batches) if size < start]
    for sizes in (larger, smaller):
        for batch in sizes:
            point = _probe(search, winner, batch, best.in_flight, cores)
            if point is None:
                break
            points.append(point)
            # Throughput rises with the batch and then falls; a probe is no more exact than that.
            if point.probed < 0.99 * best.probed:
                break
            best = max(best, point, key=lambda point: point.probed)
    return points


def _take_through(search: Search, point: Point) -> None:
    """Measure samples/s of a setting from files to scores, and hold its answers against the source's.

    Batch and runs in flight are no reason for other answers: where they are (a graph that mixes rows), the setting is
    not to be chosen. What only a lack of samples explains is no objection here.
    """
    build, launch = replace(point.pair.build, batch=point.batch), Launch(point.threads, point.in_flight)
    outcome = search.run(point.pair, build, launch, SPEED_SAMPLES)
    point.end_to_end = outcome.rows / outcome.clocks.seconds
    checks = outcome.scored.soundness.checks(outcome.scored.figures, point.pair.precision)
    point.unsound += tuple(
        check.why for check in checks if check.verdict == FAIL or (check.name == AGREEMENT and check.verdict != PASS)
    )


def _scored_point(pair: Pair) -> Point:
    assert pair.outcome is not None
    speed = pair.outcome.rows / pair.outcome.clocks.seconds
    return Point(pair, pair.outcome.batch, pair.outcome.in_flight, machine.cores(), pair.probed, speed)


def _probe(search: Search, pair: Pair, batch: int, in_flight: int, threads: int) -> Point | None:
    """Return a setting of the winner with its pure speed; None where the engine does not serve so many runs."""
    build = replace(pair.build, batch=batch)
    with opened(pair.engine, pair.model, build, Launch(threads, in_flight)) as runner:
        if runner.concurrency != in_flight:
            return None
        speed = pure_speed(runner, build, search.request.seconds)
    unsound = (speed.other_answers,) if speed.other_answers else ()
    return Point(pair, batch, in_flight, threads, speed.samples_per_second, unsound=unsound)
