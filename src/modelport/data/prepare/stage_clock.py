"""How long the threads that prepare images compute for one of them: until it is decoded, and from there on."""

from __future__ import annotations

import threading
import time


class StageClock:
    """Sums over all rows that were prepared, in nanoseconds of the preparing threads' CPU time (``thread_time_ns``).

    Waiting (for a disk, a core, memory) is not in it, nor what a library computes in threads of its own. Any number of
    threads may use it at once. It takes two microseconds of a sample's time: three looks at the clock and one lock.
    """

    def __init__(self) -> None:
        self.rows = 0  # images, or views of them
        self.decode_ns = 0  # reading, digesting and decoding
        self.resize_ns = 0  # all that follows, to the row of a batch
        self._lock, self._here = threading.Lock(), threading.local()

    def begin(self) -> int:
        """Return when this thread begins, for ``end``."""
        begun: int = time.thread_time_ns()
        self._here.decoded = begun
        return begun

    def decoded(self) -> None:
        """Tell that what this thread prepares is decoded now."""
        self._here.decoded = time.thread_time_ns()

    def end(self, begun: int, rows: int = 1) -> None:
        """Count what this thread has computed since it began, of so many rows; of one that failed, nothing counts."""
        decoded, ended = self._here.decoded, time.thread_time_ns()
        with self._lock:
            self.rows += rows
            self.decode_ns += decoded - begun
            self.resize_ns += ended - decoded
