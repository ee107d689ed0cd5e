"""The clocks of runs, and the speed that follows from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timed:
    """The timed runs of one setting. ``runs`` holds, per worker, the (start, end) of its runs in ns, in order."""

    batch: int
    runs: tuple[tuple[tuple[int, int], ...], ...]
    steady: bool = True  # whether the warm-up ended because the runs had become steady

    @property
    def in_flight(self) -> int:
        """How many runs were under way at once: one per worker."""
        return len(self.runs)

    @property
    def latencies_ms(self) -> list[float]:
        """Milliseconds of each run, in the order in which they began."""
        return [(end - start) / 1e6 for start, end in sorted(run for worker in self.runs for run in worker)]

    @property
    def samples_per_second(self) -> float:
        """The sum of the workers' rates, each over its own time: no worker's idle end counts for the others."""
        spans = [(len(worker), worker[-1][1] - worker[0][0]) for worker in self.runs]
        return sum(self.batch * count * 1e9 / span for count, span in spans)
