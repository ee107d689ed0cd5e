"""The log lines that scripts look for, on stdout, and a counter on stderr for whoever watches."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from modelport.core.guard import write_out
from modelport.core.text import plain_lines


@dataclass(slots=True)
class Log:
    """Prints ``[LEVEL] text`` lines, whole even from several threads, and keeps what the summary must repeat."""

    debugging: bool = False
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def info(self, text: str) -> None:
        """Print an ``[INFO]`` line."""
        self._print("INFO", text)

    def debug(self, text: str) -> None:
        """Print a ``[DEBUG]`` line where ``--debug`` asks for it."""
        if self.debugging:
            self._print("DEBUG", text)

    def note(self, text: str) -> None:
        """Print an ``[INFO]`` line that the summary repeats."""
        self.notes.append(text)
        self._print("INFO", text)

    def warn(self, text: str) -> None:
        """Print a ``[WARNING]`` line that the summary repeats."""
        self.notes.append(text)
        self.warnings.append(text)
        self._print("WARNING", text)

    def _print(self, level: str, text: str) -> None:
        with self._lock:
            # Where the reader has left it goes on: the results matter more than the talk.
            write_out(f"[{level}] {plain_lines(text)}\n")


@dataclass(slots=True)
class Counter:
    """``done/total`` on stderr, ten times a second at most, gone at the end; silent without a terminal."""

    total: int
    done: int = 0
    _shown: float = 0.0
    _seen: bool = field(default_factory=lambda: sys.stderr.isatty())

    def advance(self) -> None:
        """Say that one more is done."""
        self.done += 1
        if self._seen and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            sys.stderr.write(f"\rinference {self.done}/{self.total} ")
            sys.stderr.flush()

    def close(self) -> None:
        """Wipe the line."""
        if self._seen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
