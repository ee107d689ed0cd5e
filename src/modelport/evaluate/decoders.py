"""How many threads decode beside an engine: as many as keep it busy, by what both were measured to take."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from modelport.core import machine
from modelport.core.values import Batch

# Rows by which one thread's speed is taken, after the first batch, and the seconds that this may take.
ROWS, SECONDS = 32, 0.5
# Decoding beside inference is slower than alone, and images differ: a share more than the two speeds ask for.
SLACK = 1.5
# Threads that wait for a disk or a network take no core, but memory.
MOST_PER_CORE = 4


@dataclass(frozen=True, slots=True)
class Decoders:
    """A number of threads, and how it was come by."""

    count: int
    how: str


@dataclass(frozen=True, slots=True)
class OneThread:
    """What one thread prepares when it is alone: rows/s, and the share of its time that it computes (0 to 1)."""

    rows_per_second: float
    computing: float


def enough_decoders(engine: float | None, batches: Generator[Batch, None, None]) -> Decoders:
    """Return how many threads prepare as many rows/s as the engine takes, at least one.

    ``engine`` is in rows/s, None where it was not measured: then there is a thread for each core, as is where the data
    are too few to measure. ``batches`` come from one thread over the first samples; they are read here and closed.
    """
    if engine is None:
        batches.close()
        return Decoders(machine.cores(), "one for each core: too few batches to measure for")
    alone = speed_of_one(batches)
    if alone is None:
        return Decoders(machine.cores(), "one for each core: too few samples to measure by")
    most = min(MOST_PER_CORE * machine.cores(), math.ceil(machine.cores() / alone.computing))
    wanted = math.ceil(SLACK * engine / alone.rows_per_second)
    how = f"measured: one thread prepares {alone.rows_per_second:.0f} rows/s, the engine takes {engine:.0f}"
    if wanted > most:
        how += f"; {wanted} would serve it, more than {machine.cores()} cores can run"
    return Decoders(max(1, min(wanted, most)), how)


def speed_of_one(batches: Generator[Batch, None, None]) -> OneThread | None:
    """Return the speed of the one thread behind ``batches``, None where there is no second batch."""
    rows = 0
    with closing(batches):
        next(batches, None)  # in its time, what is loaded once is loaded
        begun, computed = time.perf_counter(), time.process_time()
        for batch in batches:
            rows += len(batch.ids)
            if rows >= ROWS or time.perf_counter() - begun >= SECONDS:
                break
        seconds, computed = time.perf_counter() - begun, time.process_time() - computed
    if not rows:
        return None
    return OneThread(rows / seconds, min(1.0, max(computed / seconds, 1 / MOST_PER_CORE)))
