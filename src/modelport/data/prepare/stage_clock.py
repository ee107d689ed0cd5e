"""How long the threads that prepare images compute for one of them: until it is decoded, and from there on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Sums over all rows that were prepared, in nanoseconds of the preparing threads' CPU time (``thread_time_ns``).

    Waiting (for a disk, a core, memory) is not in it, nor what a library computes in threads of its own. Any number of
    threads may use it at once; three looks at the clock and one lock a sample.
    """

    def __init__(self) -> None:
        self.rows = 0  # images, or views of them
        self.decode_ns = 0  # reading, digesting and decoding
        self.resize_ns = 0  # all that follows, to the row of a batch
        self._lock, self._here = threading.Lock(), threading.local()

    @contextmanager
    def preparing(self, rows: int = 1) -> Iterator[None]:
        """Count what this thread computes inside, of so many rows; nothing where that raises."""
        begun = self._here.decoded = time.thread_time_ns()
        yield
        decoded, ended = self._here.decoded, time.thread_time_ns()
        with self._lock:
            self.rows += rows
            self.decode_ns += decoded - begun
            self.resize_ns += ended - decoded

    def decoded(self) -> None:
        """Tell that what this thread prepares is decoded now."""
        self._here.decoded = time.thread_time_ns()
