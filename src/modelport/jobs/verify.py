"""``verify``: a result folder held against itself: every digest, and figures, checks and verdict computed anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, ModelportError
from modelport.core.output_folder import MANIFEST
from modelport.core.progress import Progress, stage
from modelport.evaluate.recount import MALFORMED, malformed, recount
from modelport.evaluate.sample_log import SAMPLES
from modelport.report.recomputed import Findings, Held, hold_figures
from modelport.report.rejudged import hold_checks, hold_slices
from modelport.report.result import Result
from modelport.report.result_folder import COMPANIONS, PREDICTIONS, RESULT, WRITTEN, ResultFolder
from modelport.tasks.table import task_of

SCHEMA = "modelport.verify/1"


def verify(path: Path, progress: Progress) -> dict[str, Any]:
    """Hold a result folder against itself, offline, and return what was found (schema ``modelport.verify/1``).

    ``verdict`` is fail where anything does not fit. Raises UsageError where ``path`` is no result folder, DataError
    where it has no manifest, or a result of another schema.
    """
    folder, found = ResultFolder(path), Findings()
    with stage(progress, "hold the digests"):
        listed = _hold_manifest(folder, found)
    try:
        result = folder.result()
    except DataError as error:
        if found.fits:
            raise
        found.not_recomputed.append(("figures, checks and verdict", error.found))
        return _told(path, found, folder.unlisted(listed))
    found.digests += _companions(folder, result, found.digests)
    with stage(progress, "compute the figures anew"):
        _hold_result(folder, result, found)
    return _told(path, found, folder.unlisted(listed))


def _told(path: Path, found: Findings, unlisted: list[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "folder": str(path),
        "verdict": "pass" if found.fits else "fail",
        **{name: [row.to_json() for row in getattr(found, name)] for name in ("digests", "figures", "checks")},
        "not_recomputed": [{"name": name, "why": why} for name, why in found.not_recomputed],
        "unlisted": unlisted,
    }


def _hold_manifest(folder: ResultFolder, found: Findings) -> Mapping[str, str]:
    """Hold the manifest against itself and each file against it; return it, empty where it is broken.

    Raises DataError where there is none.
    """
    try:
        listed = folder.manifest()
    except DataError as error:
        if not folder.has(MANIFEST):
            raise
        found.digests.append(Held(MANIFEST, None, None, error.found))
        return {}
    found.digests.append(Held(MANIFEST, listed[MANIFEST], listed[MANIFEST]))
    for name in dict.fromkeys((*WRITTEN, *listed)):
        if name != MANIFEST:
            found.digests.append(_digest(folder, name, listed.get(name), f"is not in {MANIFEST}"))
    return listed


def _companions(folder: ResultFolder, result: Result, held: list[Held]) -> Iterator[Held]:
    """Hold the files that result.json names by their digests, but for those that the manifest holds by the same."""
    known = {(row.name, row.recorded) for row in held}
    told = result.companions if isinstance(result.companions, Mapping) else {}
    for name in dict.fromkeys((*COMPANIONS, *told)):
        recorded = told.get(name)
        if (name, recorded) not in known:
            row = _digest(folder, name, recorded, "is not among the companions")
            yield replace(row, name=f"{name} in {RESULT}")


def _digest(folder: ResultFolder, name: str, recorded: Any, absent: str) -> Held:
    if recorded is None:
        return Held(name, None, None, absent)
    try:
        return Held(name, recorded, folder.digest(name))
    except DataError as error:
        return Held(name, recorded, None, error.found)


def _hold_result(folder: ResultFolder, result: Result, found: Findings) -> None:
    """Compute figures, checks and the verdict anew, and hold them against those of result.json."""
    try:
        recipe = folder.recipe()
        found.digests.append(Held(f"recipe_sha256 in {RESULT}", result.recipe_sha256, recipe.digest))
        task = task_of(recipe, seed=result.seed)
        labels = "labels" not in result.dataset
        counted = recount(task, folder.lines(PREDICTIONS), folder.lines(SAMPLES), labels)
        hold_figures(result, counted, found)
        hold_slices(result, folder.lines(SAMPLES), found)
        hold_checks(result, recipe, task, counted, found)
    except ModelportError as error:
        found.figures.append(Held("lines and recipe", None, None, error.found))
    except MALFORMED as error:
        found.figures.append(Held(RESULT, None, None, malformed(RESULT, error).found))
