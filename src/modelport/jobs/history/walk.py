"""The result folders of a tree: bounded, without following a link."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from modelport.core.errors import UsageError
from modelport.report.result_folder import RESULT

# Folders one within the other, entries looked at, and results told: more than a person keeps in one place.
MAX_DEPTH, MAX_ENTRIES, MAX_RESULTS = 16, 200_000, 1000


@dataclass(slots=True)
class Walked:
    """What was found: folders that hold a result.json, those that cannot be read, and where the search ended early."""

    folders: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def result_folders(root: Path) -> Walked:
    """Return the folders at and below ``root`` that hold a result.json, the nearest first.

    Raises UsageError where ``root`` itself is no folder, or cannot be read.
    """
    found, waiting, left, links, deeper = Walked(), deque([(root, 0)]), MAX_ENTRIES, 0, 0
    while waiting and left > 0:
        folder, depth = waiting.popleft()
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(islice(scanned, left), key=lambda entry: entry.name)
        except (OSError, ValueError) as error:  # ValueError: a NUL inside the name
            told = getattr(error, "strerror", None) or str(error)
            if folder is root:
                raise UsageError(f"{root}: {told}", "name a folder under which results lie") from error
            found.skipped.append((folder, f"cannot be read: {told}"))
            continue
        left -= len(entries)
        if any(entry.name == RESULT for entry in entries):
            found.folders.append(folder)
        links += sum(entry.is_symlink() and entry.is_dir() for entry in entries)
        inner = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        if depth < MAX_DEPTH:
            waiting.extend((path, depth + 1) for path in inner)
        else:
            deeper += len(inner)
    found.notes += _notes(links, deeper, left <= 0)
    return found


def _notes(links: int, deeper: int, stopped: bool) -> list[str]:
    """Return what was not looked at."""
    told = [f"{links} links to folders were not followed"] if links else []
    told += [f"{deeper} folders lie deeper than {MAX_DEPTH} and were not looked at"] if deeper else []
    return told + ([f"the search ended at {MAX_ENTRIES} files and folders: there may be more"] if stopped else [])
