"""``compare``: results side by side, the first the baseline; the verdict is about the last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.options import CONFIDENCE, drop
from modelport.core.progress import Progress
from modelport.core.text import plain
from modelport.jobs.compare.comparable import changed_keys, differences, measure_notes, refuse
from modelport.jobs.compare.reading import Read, read_result
from modelport.jobs.compare.rows import Common, Row, figure_row, held, judged, overall, same_samples
from modelport.jobs.compare.speed import speed_rows
from modelport.recipes.tables import Tolerance

SCHEMA = "modelport.compare/1"
# Each is held in memory with all its samples.
MOST = 50
LISTED = 100


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What ``modelport compare`` is asked for."""

    results: tuple[Path, ...]  # folders or their result.json, the baseline first
    max_drop: float | None = None  # in place of the recipe's tolerance, in its unit
    command: str = ""


def compare(request: CompareRequest, progress: Progress) -> dict[str, Any]:
    """Hold each result against the first; return ``modelport.compare/1``.

    Raises UsageError for results that do not answer the same question, DataError for files that are no result.
    """
    if not 2 <= len(request.results) <= MOST:
        raise UsageError(f"{len(request.results)} results were given", f"name 2 to {MOST}: the baseline first")
    drop("--max-drop", request.max_drop)
    results = []
    with progress.bar("read", len(request.results), "results") as bar:
        for path in request.results:
            results.append(read_result(path))
            bar.advance()
    first = results[0]
    for other in results[1:]:
        refuse(first, other)
    tolerance, whose = _tolerance(first, request.max_drop)
    commons = [Common.of(first, other) for other in results[1:]]
    rows = _rows(results, commons, tolerance, whose)
    differs = differences(results)
    last = commons[-1]
    tests = sum(row.p is not None for row in rows)
    return {
        "schema": SCHEMA,
        "verdict": overall([row for row in rows if row.of == len(results) - 1]),
        "results": [_told(result) for result in results],
        "paired": any(row.of == len(results) - 1 and row.is_paired for row in rows),
        "samples": 0 if last is None else len(last.first),
        "rows": [row.to_json() for row in rows],
        "flips": _flips(results, commons, rows),
        "differs": differs,
        "confidence": CONFIDENCE,
        "correction": {"method": "holm", "tests": tests},
        "notes": _notes(results, commons, differs),
        "command": request.command,
    }


def _tolerance(first: Read, max_drop: float | None) -> tuple[Tolerance, str]:
    """Return what may be lost, and who says so: the command line, in the unit of the baseline's, or the baseline."""
    known = first.tolerance
    if max_drop is not None:
        tolerance = Tolerance() if known is None else known[0]
        return tolerance.model_copy(update={"value": max_drop}), "--max-drop"
    if known is None:
        raise UsageError(f"{first.name}: what may be lost is not told", "say it in points: --max-drop X")
    return known


def _rows(results: Sequence[Read], commons: Sequence[Common | None], tolerance: Tolerance, whose: str) -> list[Row]:
    """Return all rows, judged; those of one result together, the figures before the speeds."""
    first, found = results[0], list[Row]()
    for of, (other, common) in enumerate(zip(results[1:], commons, strict=True), 1):
        names = dict.fromkeys((*first.figures, *other.figures))
        found += [figure_row(name, first, other, of, common) for name in names]
        found += speed_rows(first, other, of)
    deciding = first.deciding
    rows = []
    for row in judged(found):
        if row.metric in deciding:
            other = results[row.of]
            full = same_samples(first, other) and first.is_full_set(row.metric) and other.is_full_set(row.metric)
            row = held(row, tolerance, whose, full, len(deciding))
        rows.append(row)
    return rows


def _told(result: Read) -> dict[str, Any]:
    keys = ("recipe", "variant", "engine", "precision", "batch", "n", "verdict", "started")
    packages = result.at("environment", "packages")
    told = packages if isinstance(packages, Mapping) else {}
    versions = {plain(name, 60): plain(version, 60) for name, version in told.items() if version is not None}
    return {"name": result.name} | {key: result.at(key) for key in keys} | {"packages": versions}


def _flips(results: Sequence[Read], commons: Sequence[Common | None], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return by figure that decides which samples were lost or gained, in the baseline's order, the first of them."""
    first, found = results[0], []
    for row in rows:
        common = commons[row.of - 1]
        values = None if common is None else common.values(first, results[row.of], row.metric)
        if row.tolerance is None or common is None or values is None or first.samples is None:
            continue
        names = list(first.samples.place)
        gains = values[1] - values[0]
        listed = [
            {
                "id": plain(names[common.first[place]][0], 300),
                "target": _target(first.samples.targets[common.first[place]]),
                "flip": "lost" if gains[place] < 0.0 else "gained",
            }
            for place in np.flatnonzero(gains)[:LISTED].tolist()
        ]
        told = {
            "metric": row.metric,
            "of": row.of,
            "lost": int((gains < 0.0).sum()),
            "gained": int((gains > 0.0).sum()),
        }
        found.append(told | {"listed": listed})
    return found


def _target(text: str) -> Any:
    return text if text.startswith("sha256:") else json.loads(text)


def _notes(
    results: Sequence[Read], commons: Sequence[Common | None], differs: Mapping[str, Sequence[Any]]
) -> list[str]:
    """Return what a reader must know of how they were compared."""
    first, notes = results[0], measure_notes(differs)
    for other, common in zip(results[1:], commons, strict=True):
        pair = f"{first.name} and {other.name}"
        changed = changed_keys(first, other)
        if changed:
            notes.append(f"{pair}: the recipes differ in {', '.join(changed[:5])}")
        if common is None:
            why = first.without or other.without or "no sample is in both"
            notes.append(f"{pair} are not compared sample by sample: {why}")
        elif not common.whole:
            counts = f"{first.at('n')} and {other.at('n')}"
            notes.append(f"{pair} share {len(common.first)} samples (of {counts}): what is paired is of these")
    notes += [
        f"{result.name}: its own verdict is {plain(result.at('verdict'), 40)}"
        for result in results
        if result.at("verdict") != "pass"
    ]
    return notes
