"""Temporary folders that tell whether their run still lives, and the sweeping of those whose run was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Stands in the name of every temporary folder, so that nothing of the user's is ever taken for one.
MARK = ".modelport-"
_FOLDER = re.compile(r"\..+\.modelport-[a-z0-9_]{8}")
# A hidden file whose name holds the process that writes it.
_PART = re.compile(r"\..+\.([0-9]{1,10})\.part")
# Below the cache lie kinds, and in these the folders of single models.
CACHE_DEPTH = 3
# Folders that this process has swept.
_SWEPT: set[Path] = set()


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new empty folder beside where ``name`` is to go, held by this process, and remove it at the end.

    The lock on it goes with the process, however that ends. What dead runs have left in ``parent`` is swept the first
    time that a process comes there. Raises OSError.
    """
    sweep_once(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{name}{MARK}", dir=parent))
        handle = _held(folder)
        if handle is not None:
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep_once(folder: Path, depth: int = 1) -> None:
    """Sweep a folder the first time that this process comes there."""
    if folder not in _SWEPT:
        _SWEPT.add(folder)
        sweep(folder, depth)


def sweep(folder: Path, depth: int = 1) -> None:
    """Remove the temporary folders and files that dead runs have left in ``folder``, ``depth`` levels deep.

    What a live run uses stays: its folders are locked, its files tell the process that writes them.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if _FOLDER.fullmatch(entry.name):
                _remove_unheld(path)
            elif depth > 1:
                sweep(path, depth - 1)
        elif (part := _PART.fullmatch(entry.name)) and not _lives(int(part[1])):
            with contextlib.suppress(OSError):
                path.unlink()


def _held(folder: Path) -> int | None:
    """Lock a new folder and return its handle; None where a sweeper took it for a dead one in between."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        return handle  # a file system without locks: there nothing can be swept either
    if os.fstat(handle).st_nlink == 0 or not folder.is_dir():
        os.close(handle)
        return None
    return handle


def _remove_unheld(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # held by a live run
    finally:
        os.close(handle)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # there, and another user's
    return True
