"""``history``: what became of each recipe, engine and precision over time, and which changes are certain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_text
from modelport.core.errors import DataError, ModelportError, OutputError, UsageError, raised_as
from modelport.core.options import CONFIDENCE
from modelport.core.progress import Bar, Progress
from modelport.core.text import plain
from modelport.jobs.compare.reading import FIX, Read, read_result
from modelport.jobs.compare.rows import judged
from modelport.jobs.history.rows import MAX_NAME, Line, instant, line_of
from modelport.jobs.history.walk import MAX_RESULTS, Walked, result_folders
from modelport.report.page.draw import page
from modelport.report.page.found import Found
from modelport.report.result_folder import MALFORMED, RESULT, ResultFolder

SCHEMA = "modelport.history/1"
# What is one history: these keys of a result are the same.
GROUP = ("recipe", "variant", "engine", "precision")
Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What ``modelport history`` is asked for."""

    folder: Path
    out: Path | None = None  # a page goes there
    force: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A result that was looked at, before it is read whole."""

    key: Key
    started: datetime
    folder: Path


def history(request: HistoryRequest, progress: Progress) -> dict[str, Any]:
    """Return the history of a folder tree (schema ``modelport.history/1``), and write the page where one is wanted.

    A damaged result is told in ``skipped``. Raises UsageError where the folder holds no result at all, DataError where
    none of them can be read, OutputError where the page cannot be written.
    """
    if request.out is not None and request.out.exists() and not request.force:
        raise OutputError(f"{request.out} exists", "choose another --out, or replace it: --force")
    walked = result_folders(request.folder)
    if not walked.folders:
        beside = f" ({'; '.join(walked.notes)})" if walked.notes else ""
        raise UsageError(
            f"{request.folder} holds no result: no {RESULT} lies in it{beside}", "name a folder that holds runs"
        )
    seen = _seen(walked)
    with progress.bar("read", len(seen), "results") as bar:
        groups = [_group(key, members, walked, bar) for key, members in _by_key(seen).items()]
    groups = [group for group in groups if group["rows"]]
    if not groups:
        place, why = walked.skipped[0]
        raise DataError(f"{request.folder} holds no result that can be read: {place}: {why}", FIX)
    value = {
        "schema": SCHEMA,
        "folder": plain(request.folder, 300),
        "groups": groups,
        "skipped": [{"path": plain(place, 300), "why": plain(why, 500)} for place, why in walked.skipped],
        "notes": walked.notes,
        "confidence": CONFIDENCE,
        "command": request.command,
    }
    if request.out is not None:
        write_text(request.out, page([Found("history", request.folder, value)], f"history of {request.folder}"))
        value["out"] = str(request.out)
    return value


def _seen(walked: Walked) -> list[_Seen]:
    """Return what tells of each result whose history it is and when it was made; what does not is skipped."""
    found = []
    for folder in walked.folders:
        try:
            found.append(_looked_at(folder))
        except ModelportError as error:
            walked.skipped.append((folder, error.found))
    found.sort(key=lambda one: (one.started, str(one.folder)))
    if len(found) > MAX_RESULTS:
        walked.notes.append(f"the newest {MAX_RESULTS} of {len(found)} results are told")
    return found[-MAX_RESULTS:]


def _looked_at(folder: Path) -> _Seen:
    value, place = ResultFolder(folder).value(), folder / RESULT
    with raised_as(DataError, f"{place}: started: is no time", FIX, (*MALFORMED, OverflowError)):
        started = instant(value)
    key = tuple(value.get(name) for name in GROUP)
    if not all(word is None or isinstance(word, str) for word in key):
        raise DataError(f"{place}: {', '.join(GROUP)}: one is no text", FIX)
    return _Seen(key, started, folder)


def _by_key(seen: Iterable[_Seen]) -> dict[Key, list[_Seen]]:
    """Return the results of each history; those that come first in the alphabet first, each in order of time."""
    found: dict[Key, list[_Seen]] = {}
    for one in seen:
        found.setdefault(one.key, []).append(one)
    return dict(sorted(found.items(), key=lambda item: [word or "" for word in item[0]]))


def _group(key: Key, members: Sequence[_Seen], walked: Walked, bar: Bar) -> dict[str, Any]:
    """Return one history: two results at a time hold their samples in memory."""
    lines: list[Line] = []
    before: Read | None = None
    for member in members:
        bar.advance()
        try:
            this = read_result(member.folder)
        except ModelportError as error:
            walked.skipped.append((member.folder, error.found))
            continue
        lines.append(line_of(this, before))
        before = this
    lines = _judged(lines)
    named = {name: word and plain(word, MAX_NAME) for name, word in zip(GROUP, key, strict=True)}
    tests = sum(line.change is not None and line.change.p is not None for line in lines)
    return named | {
        "metric": lines[-1].told["metric"] if lines else None,
        "correction": {"method": "holm", "tests": tests},
        "rows": [line.to_json() for line in lines],
    }


def _judged(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with verdicts on their changes; the chance to err is that of all of one history together."""
    changes = [line.change for line in lines if line.change is not None]
    found = iter(judged(changes))
    return [line if line.change is None else replace(line, change=next(found)) for line in lines]
