"""Verdicts replayed on answers whose true loss is known: how often each rule errs. Shared by verdict_validity.py."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Floats, MeanFigures
from modelport.tasks.paired import Paired, Unit
from modelport.verdict import bootstrap, exact
from modelport.verdict.betting import STAKES, Game, log_wealths
from modelport.verdict.margin import WeightedBets, margin_order
from modelport.verdict.sequential import Bets

RECORDED = Path(__file__).parent / "data" / "resnet18_int8.csv.gz"
SIDES: tuple[Literal["pass"], Literal["fail"]] = ("pass", "fail")
ERROR = 0.05
SHOWN = -math.log(ERROR)
# An exact p-value is no smaller than the share of samples with as much evidence, which the replays themselves tell: it
# is computed for those alone whose evidence is among so large a share, the rest cannot be at 5 %.
NEAR = 0.15
# (source, engine) of both, only_source, only_engine and neither.
CELLS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
Places = Literal["small", "large", "recorded"]


@dataclass(frozen=True)
class World:
    """Samples as a source and an engine answer them: shares of the four cells, and margins where they are recorded."""

    name: str
    unit: Unit
    shares: tuple[float, float, float, float]
    rows: tuple[tuple[float, float, float], ...] = ()  # (source, engine, margin) of recorded samples

    @property
    def loss(self) -> float:
        """The true loss, in points or percent of the source's figure."""
        both, source, engine, _ = self.shares
        return 100.0 * (source - engine) / (1.0 if self.unit == "points" else both + source)

    def tolerance(self, away: float = 0.0) -> Tolerance:
        """The true loss as a tolerance, or so far from it."""
        return Tolerance(value=self.loss + away, unit=self.unit)

    def streams(self, count: int, n: int, seed: int) -> Iterator[NDArray[np.intp]]:
        """Yield as many streams of n cells."""
        rng, edges = np.random.default_rng(seed), np.cumsum(self.shares)[:3]
        for _ in range(count):
            yield np.searchsorted(edges, rng.random(n), side="right")

    def planned(self, n: int, places: Places, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a set of n samples: what source and engine earn, (n, 2), and the margins, (n,)."""
        if places == "recorded":
            rows = np.array(self.rows)[rng.integers(len(self.rows), size=n)]
            return rows[:, :2], rows[:, 2]
        pairs = np.array(CELLS)[rng.choice(4, n, p=self.shares)]
        flips = pairs[:, 0] != pairs[:, 1]
        # Flips share the tenth of the margins at one end with others.
        margins = np.where(flips, 0.1, 1.0) * rng.random(n)
        return pairs, margins if places == "small" else -margins


def simulated(unit: Unit, tolerance: float = 2.0) -> World:
    """Return a world that loses just the tolerance: 1 % of the answers turn right, and some more turn wrong."""
    t, both, engine = tolerance / 100.0, 0.65, 0.01
    source = engine + t if unit == "points" else (t * both + engine) / (1.0 - t)
    return World("simulated", unit, (both, source, engine, 1.0 - both - source - engine))


def recorded(unit: Unit) -> World:
    """Return the world of the recorded samples."""
    rows = recorded_rows()
    seen = [sum(row[:2] == cell for row in rows) / len(rows) for cell in CELLS]
    return World("recorded", unit, (seen[0], seen[1], seen[2], seen[3]), rows)


@lru_cache
def recorded_rows() -> tuple[tuple[float, float, float], ...]:
    """Return (source right, engine right, margin) of each recorded sample, as its samples.jsonl holds them."""
    with gzip.open(RECORDED, "rt", encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream)
        return tuple((float(row["source_correct"]), float(row["correct"]), float(row["margin"])) for row in lines)


def fixed(world: World, n: int, replays: int, seed: int) -> dict[str, int]:
    """Return how many replays of n samples pass, how many fail, and how many intervals miss the loss on either side."""
    counts = np.random.default_rng(seed).multinomial(n, world.shares, size=replays)
    # In points samples that nobody or both answer rightly tell the same.
    both = counts[:, 0] if world.unit == "percent_of_reference" else 0 * counts[:, 0]
    cells = np.stack([both, counts[:, 1], counts[:, 2], n - both - counts[:, 1] - counts[:, 2]], axis=1)
    rows, repeats = np.unique(cells, axis=0, return_counts=True)
    outcomes = [Paired(*map(int, row)) for row in rows]
    found = dict.fromkeys((*SIDES, "missed_above", "missed_below"), 0)
    for side, missed in zip(SIDES, ("missed_above", "missed_below"), strict=True):
        game = Game.of(world.loss, world.unit)
        game = game if side == "pass" else game.against()
        evidence = np.array([log_wealths(game, seen, exact.FINE).max() for seen in outcomes])
        ranked = np.argsort(-evidence)
        before = np.cumsum(repeats[ranked]) - repeats[ranked]
        for place in ranked[before < NEAR * replays].tolist():
            seen, times = outcomes[place], int(repeats[place])
            chance = exact.p_value(seen, world.loss, world.unit, side)
            found[side] += times * (chance <= ERROR)
            # A bound that excludes the loss goes with a p-value near the error or below it.
            if chance <= 2 * ERROR:
                low, high = exact.loss_bounds(seen, world.unit)
                found[missed] += times * (high < world.loss if side == "pass" else low > world.loss)
    return found


def first_shown(cells: NDArray[np.intp], game: Game) -> int | None:
    """Return after how many samples the mixture of bets first shows the game's side; None where it never does."""
    factors = np.stack(game.log_factors(STAKES), axis=1)
    wealth = np.zeros(len(STAKES))
    for start in range(0, len(cells), 2000):
        grown = wealth[:, None] + np.cumsum(factors[:, cells[start : start + 2000]], axis=1)
        top = grown.max(axis=0)
        enough = top + np.log(np.exp(grown - top).mean(axis=0)) >= SHOWN
        if enough.any():
            return start + int(enough.argmax()) + 1
        wealth = grown[:, -1]
    return None


def bets_of(cells: NDArray[np.intp], tolerance: Tolerance) -> Bets:
    """Return the product's bets that have taken these samples."""
    bets = Bets(tolerance)
    bets.take([CELLS[cell] for cell in cells.tolist()])
    return bets


def sequential(world: World, most: int, replays: int, seed: int) -> dict[str, int]:
    """Return how many replays ever pass and how many ever fail, looked at after each of so many samples."""
    found = dict.fromkeys(SIDES, 0)
    game = Game.of(world.loss, world.unit)
    for cells in world.streams(replays, most, seed):
        for side, own in zip(SIDES, (game, game.against()), strict=True):
            stop = first_shown(cells, own)
            if stop is not None:
                assert bets_of(cells[:stop], world.tolerance()).word() == side
                found[side] += 1
    return found


def sequential_stops(world: World, tolerance: float, most: int, replays: int, seed: int) -> tuple[list[int], int]:
    """Return after how many samples each replay stops, and how many intervals miss the loss then."""
    stops, missed = list[int](), 0
    game = Game.of(tolerance, world.unit)
    for cells in world.streams(replays, most, seed):
        stop = min(first_shown(cells, own) or most for own in (game, game.against()))
        low, high = bets_of(cells[:stop], Tolerance(value=tolerance, unit=world.unit)).interval()
        missed += not low <= world.loss <= high
        stops.append(stop)
    return stops, missed


def margin(world: World, places: Places, planned: int, replays: int, seed: int) -> dict[str, int]:
    """Return how many replays ever pass and ever fail among nine tenths of a planned set, at its very loss."""
    rng, found = np.random.default_rng(seed), dict.fromkeys(SIDES, 0)
    for turn in range(replays):
        pairs, margins = world.planned(planned, places, rng)
        lost, right = float((pairs[:, 0] - pairs[:, 1]).sum()), float(pairs[:, 0].sum())
        loss = 100.0 * lost / (planned if world.unit == "points" else right)
        draw = margin_order(margins.tolist(), seed + turn)
        taken = draw.order[: planned * 9 // 10]
        for side, away in zip(SIDES, (-1e-9, 1e-9), strict=True):
            # A hair off the loss, so that the side would be wrong.
            bets = WeightedBets(Tolerance(value=max(0.0, loss + away), unit=world.unit), planned, right / planned)
            bets.take(pairs[taken].tolist(), draw.weights[: len(taken)].tolist())
            found[side] += bets.word() == side
    return found


def margin_stops(
    world: World, places: Places, tolerance: float, planned: int, replays: int, seed: int
) -> tuple[list[int], int]:
    """Return after how many samples each replay stops, and how many intervals miss the loss of the set then."""
    rng, stops, missed = np.random.default_rng(seed), list[int](), 0
    for turn in range(replays):
        pairs, margins = world.planned(planned, places, rng)
        lost, right = float((pairs[:, 0] - pairs[:, 1]).sum()), float(pairs[:, 0].sum())
        draw = margin_order(margins.tolist(), seed + turn)
        bets = WeightedBets(Tolerance(value=tolerance, unit=world.unit), planned, right / planned)
        while bets.word() is None:
            part = slice(bets.n, bets.n + 10)
            bets.take(pairs[draw.order[part]].tolist(), draw.weights[part].tolist())
        low, high = bets.interval()
        missed += not low <= 100.0 * lost / (planned if world.unit == "points" else right) <= high
        stops.append(bets.n)
    return stops, missed


class Found:
    """Images with objects, which source and engine find or not: a figure that is no mean of images (F1)."""

    def __init__(self, images: int, rng: np.random.Generator) -> None:
        objects = 1 + rng.poisson(3.0, images)
        found, false = rng.binomial(objects, 0.8), rng.poisson(0.6, images)
        kept = found - rng.binomial(found, 0.05) + rng.binomial(objects - found, 0.08)
        more = false + rng.poisson(0.05, images)
        self._sides = ((kept, more, objects - kept), (found, false, objects - found))
        self.images, self.work = images, 6 * images
        self.differ = int(((kept != found) | (more != false)).sum())

    def figures(self, weights: NDArray[np.int64]) -> tuple[dict[str, float], dict[str, float]]:
        """Return F1 of engine and source, in percent."""
        engine, source = ({"f1": f1(*(float(weights @ count) for count in side))} for side in self._sides)
        return engine, source


def f1(found: float, false: float, missed: float) -> float:
    """Return F1 in percent."""
    return 200.0 * found / (2.0 * found + false + missed)


def skewed(images: int, rng: np.random.Generator) -> MeanFigures:
    """Return a mean of values per image, of which two in five differ: most lose or gain a little, few lose much."""
    source = 0.3 + 0.7 * rng.random(images)
    away = np.where(rng.random(images) < 0.4, rng.exponential(0.06, images) - 0.03, 0.0)
    return MeanFigures({"mean": (100.0 * (source - away), 100.0 * source)})


# What is lost where the counts are their own means, and by two in five images, on average.
RESAMPLED = {Found: f1(3.2, 0.6, 0.8) - f1(3.2 * 0.95 + 0.8 * 0.08, 0.65, 4.0 - 3.2 * 0.95 - 0.8 * 0.08), skewed: 1.2}


def resampled(drawn_from: Any, images: int, replays: int, seed: int) -> dict[str, int]:
    """Return how many bootstrap bounds miss the loss on either side."""
    rng, found = np.random.default_rng(seed), dict.fromkeys(("missed_above", "missed_below"), 0)
    loss, ones = RESAMPLED[drawn_from], np.ones(images, np.int64)
    for turn in range(replays):
        figures = drawn_from(images, rng)
        (engine,), (source,) = (side.values() for side in figures.figures(ones))
        drawn = bootstrap.Resamples.of(figures, seed + turn)
        (engines,), (sources,) = drawn.engine.values(), drawn.source.values()
        low, high = bootstrap.bounds(sources - engines, source - engine, drawn.differ, 1.0 - ERROR)
        found["missed_above"] += high < loss
        found["missed_below"] += low > loss
    return found
