"""How a process ends: every outcome has its exit code and its one message, and a traceback goes to a file."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from modelport.core.artifacts import cache_folder
from modelport.core.errors import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USAGE, ModelportError, OutputError
from modelport.core.text import plain

# Seconds that an interrupted process has to tidy up before it is ended whatever its threads do.
GRACE = 5.0


def guarded(work: Callable[[], int], say: Callable[[str, str], None], kept: Callable[[], str]) -> int:
    """Return the exit code of ``work``, or the one of what it raised.

    ``say(found, fix)`` tells the user of an error; ``kept()`` is what an interruption leaves. A ModelportError ends
    with its own code, lack of memory and a name too long for the disk with 2, an interruption with 130, anything else
    with 70 and a traceback in a file.
    """
    try:
        return work()
    except ModelportError as error:
        _told(say, error.found, error.fix)
        return error.exit_code
    except MemoryError:
        _told(say, "out of memory", "run a smaller batch, on fewer threads or smaller files")
        return EXIT_USAGE
    except KeyboardInterrupt:
        _told(say, f"interrupted; {kept()}", "")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever listened has left
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            # Whatever is done to such a file fails so, the question whether it exists as well.
            _told(say, f"{plain(error.filename, 200)}: {error.strerror}", "give a shorter name")
            return EXIT_USAGE
        what = plain(f"{type(error).__name__}: {error}", 300)
        _told(say, f"a fault of modelport itself: {what}", f"the traceback is in {_kept(error)}, please report it")
        return EXIT_FAULT


def write_out(text: str) -> None:
    """Write to stdout, all of it. A reader that has left is no error; raises OutputError where it cannot be written."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _into_nothing()
    except OSError as error:
        _into_nothing()
        raise OutputError(
            f"stdout cannot be written: {error.strerror or error}", "free space, or write to another place"
        ) from error


def fill_closed_streams() -> None:
    """Open what the caller closed of stdin, stdout and stderr to nothing, so that no file gets their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def watch_signals(kept: Callable[[], str]) -> None:
    """Make SIGTERM end the process as SIGINT does, a second signal at once, and either after a grace of 5 s.

    The grace holds whatever other threads or native code do: a thread of its own watches. Main thread only.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=(reading, kept), daemon=True, name="signals").start()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_in_time(reading: int, kept: Callable[[], str]) -> None:
    _wait_for_end(reading)
    due = time.monotonic() + GRACE

    def second() -> None:
        _wait_for_end(reading)
        os._exit(EXIT_INTERRUPTED)

    threading.Thread(target=second, daemon=True, name="second signal").start()
    time.sleep(max(0.0, due - time.monotonic()))
    with contextlib.suppress(OSError, ValueError):
        os.write(2, f"error: interrupted; {kept()}\n".encode(errors="backslashreplace"))
    os._exit(EXIT_INTERRUPTED)


def _wait_for_end(reading: int) -> None:
    while not {signal.SIGINT, signal.SIGTERM} & set(os.read(reading, 1)):
        pass


def leave(code: int) -> None:
    """End the process with ``code``; an interrupted one does not wait for its threads."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            if stream is sys.stdout:
                _into_nothing()
    if code == EXIT_INTERRUPTED:
        os._exit(code)
    sys.exit(code)


def _told(say: Callable[[str, str], None], found: str, fix: str) -> None:
    # Whoever cannot hear it still gets the exit code.
    with contextlib.suppress(OSError, ValueError, ModelportError):
        say(found, fix)


def _into_nothing() -> None:
    """Python flushes stdout once more at its end: into nothing."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def _kept(error: Exception) -> str:
    """Write the traceback to a file of its own and return where."""
    text = "".join(traceback.format_exception(error))
    words = " ".join(map(plain, sys.argv))
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
    places: tuple[Callable[[], Path], ...] = (lambda: cache_folder("faults"), lambda: Path(tempfile.gettempdir()))
    for place in places:
        try:
            handle, path = tempfile.mkstemp(prefix=f"modelport-{name}", suffix=".txt", dir=place())
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"{words}\n\n{text}")
        except (OSError, ValueError, ModelportError):
            continue
        return path
    return "no file (none could be written)"
