"""What the page is drawn from: folders and files that verbs have left, each read by its kind."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, RecipeError, UsageError, raised_as
from modelport.core.files import MAX_TEXT_BYTES, open_regular, parse_json
from modelport.core.text import plain
from modelport.recipes.schema import Recipe
from modelport.report.result import Result
from modelport.report.result_folder import FIX, MALFORMED, RECIPE, RESULT, ResultFolder

# What a folder's file is called, by kind; in the order in which they are looked for.
FILES = {"result": RESULT, "trace": "trace.json", "probe": "probe.json", "power": "power.json"}
# Kinds that a verb prints, and whoever keeps them names as they like.
PRINTED = ("bench", "tune", "compare", "history")
KINDS = (*FILES, *PRINTED)


@dataclass(frozen=True, slots=True)
class Found:
    """What a verb has left. ``value`` is the file as it was read, ``result`` the typed one of a run."""

    kind: str  # one of KINDS
    path: Path
    value: Mapping[str, Any]
    folder: ResultFolder | None = None  # where more lies beside it
    result: Result | None = None

    @property
    def name(self) -> str:
        """What the page calls it."""
        told = [self.value.get(key) for key in ("recipe", "variant", "engine", "precision")]
        return plain(" ".join(str(word) for word in told if word) or self.path.name, 120)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe as it ran; None where the folder holds none that this modelport reads."""
        if self.folder is None or not self.folder.has(RECIPE):
            return None
        with contextlib.suppress(DataError, RecipeError):
            return self.folder.recipe()
        return None


def found(paths: Sequence[Path]) -> list[Found]:
    """Return what lies at each path. Raises UsageError for what is of none of the kinds, DataError for damage."""
    return [_of_folder(path) if path.is_dir() else _of_file(path) for path in paths]


def _of_folder(path: Path) -> Found:
    folder = ResultFolder(path, FILES.values())
    kind = next(kind for kind, name in FILES.items() if folder.has(name))
    place = path / FILES[kind]
    value = parse_json(folder.content(FILES[kind]), f"{place}", fix=FIX)
    if _kind_of(value) != kind:
        raise DataError(f"{place}: is of another schema than modelport.{kind}/1", FIX)
    return _typed(Found(kind, path, value, folder))


def _of_file(path: Path) -> Found:
    with open_regular(path, MAX_TEXT_BYTES) as stream, raised_as(DataError, f"{path}", FIX, OSError):
        value = parse_json(stream.read(), f"{path}", fix=FIX)
    kind = _kind_of(value)
    if kind is None:
        raise UsageError(
            f"{path} is no result of modelport",
            "name a folder that `run`, `evaluate`, `trace`, `probe` or `power` wrote, or what `bench`, `tune`, "
            "`compare` or `history` printed with --json",
        )
    return _typed(Found(kind, path, value))


def _kind_of(value: object) -> str | None:
    schema = value.get("schema") if isinstance(value, dict) else None
    return next((kind for kind in KINDS if schema == f"modelport.{kind}/1"), None)


def _typed(one: Found) -> Found:
    if one.kind != "result":
        return one
    with raised_as(DataError, f"{one.path}: is not as modelport writes it", FIX, MALFORMED):
        return Found(one.kind, one.path, one.value, one.folder, Result.from_json(one.value))
