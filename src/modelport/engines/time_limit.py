"""How long one run may take, and how Ctrl-C ends one: a vendor's call cannot be left from Python while it computes.

A watching thread asks the vendor to stop the run. Where that does nothing, the process ends itself: every file is
written aside and moved into place, so none is left half-written under its name.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from modelport.core import options
from modelport.core.errors import EXIT_INTERRUPTED, EXIT_USAGE, EngineError

# What a vendor gets to stop a run that it was asked to stop.
GRACE_SECONDS = 3.0
LOOKS_PER_SECOND = 5


class RunStopped(EngineError):
    """A run that was stopped because its time was up, or by a signal."""


@dataclass(slots=True, eq=False)
class _Run:
    deadline: float
    stop: Callable[[], None]
    asked: float | None = None  # when the vendor was asked to stop it
    interrupted: bool = False  # by a signal, not by the clock


class _Watch:
    """The runs in flight of this process, and the thread that looks after them."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._runs: set[_Run] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._signals: socket.socket | None = None
        self._listener_before = -1  # whoever was told of signals until now still is

    def limit(self, seconds: float) -> None:
        self.seconds = seconds
        if self._thread is None:
            self._listen()
            self._thread = threading.Thread(target=self._watch, name="time-limit", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        """Have Python tell of signals at once: its own handlers wait until the vendor's call returns."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._signals, told = socket.socketpair()
        told.setblocking(False)
        self._told = told  # kept open
        self._listener_before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)

    def begin(self, run: _Run) -> None:
        with self._lock:
            self._runs.add(run)

    def end(self, run: _Run) -> None:
        with self._lock:
            self._runs.discard(run)

    def _watch(self) -> None:
        while True:
            interrupted = self._interrupted()
            now = time.monotonic()
            with self._lock:
                runs = list(self._runs)
            for run in runs:
                if run.asked is None and (interrupted or now > run.deadline):
                    run.asked, run.interrupted = now, interrupted
                    run.stop()
                elif run.asked is not None and now > run.asked + GRACE_SECONDS:
                    self._leave(run)

    def _interrupted(self) -> bool:
        """Wait a moment, and say whether SIGINT or SIGTERM came meanwhile."""
        if self._signals is None:
            time.sleep(1 / LOOKS_PER_SECOND)
            return False
        if not select.select([self._signals], [], [], 1 / LOOKS_PER_SECOND)[0]:
            return False
        numbers = self._signals.recv(64)
        if self._listener_before >= 0:
            with suppress(OSError):
                os.write(self._listener_before, numbers)
        return bool({signal.SIGINT, signal.SIGTERM} & set(numbers))

    def _leave(self, run: _Run) -> None:
        """End the process, whose thread is inside the vendor's library for good."""
        with self._lock:
            if run not in self._runs:
                return
        text = "interrupted" if run.interrupted else str(_too_long(self.seconds or 0.0))
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"[ERROR] {text}\n".encode())
        os._exit(EXIT_INTERRUPTED if run.interrupted else EXIT_USAGE)


_WATCH = _Watch()


def limit_runs(seconds: float) -> None:
    """From now on, let no run of this process take longer than ``seconds``. Raises UsageError for no such time."""
    _WATCH.limit(options.seconds("--timeout", seconds))


@contextmanager
def within_limit(stop: Callable[[], None]) -> Iterator[None]:
    """Hold one run, whatever it raises, to the limit of this process; without one it may take as long as it likes.

    ``stop`` asks the vendor, from another thread, to end the run. Raises RunStopped where the time was up.
    """
    if _WATCH.seconds is None:
        yield
        return
    run = _Run(time.monotonic() + _WATCH.seconds, stop)
    _WATCH.begin(run)
    try:
        yield
    except Exception as error:
        if run.asked is not None:
            raise (RunStopped("the run was interrupted") if run.interrupted else _too_long(_WATCH.seconds)) from error
        raise
    finally:
        _WATCH.end(run)


def _too_long(seconds: float) -> RunStopped:
    return RunStopped(
        f"one run of the model took longer than {seconds:g} s and was stopped",
        "see whether the graph has a loop without end; else allow more with --timeout, or take a smaller --batch",
    )
