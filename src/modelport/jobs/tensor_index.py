"""``index.json``: what lies in a folder of tensor files, and which rows each file holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError

SCHEMA = "modelport.tensors/1"
INDEX = "index.json"
MAX_INDEX_BYTES = 1024 * 1024 * 1024
_AGAIN = "write the tensors again, or leave --tensors out"


@dataclass(frozen=True, slots=True)
class TensorIndex:
    """The parts of an index that a reader of results needs."""

    place: Path
    recipe: str
    files: dict[str, tuple[str, ...]]  # file name → ids of its rows
    digests: dict[str, str]  # sample id → sha256 of its content
    skipped: tuple[str, ...]  # samples that could not be decoded


def read_index(place: Path) -> TensorIndex:
    """Read ``index.json``, or the one in a folder. Raises DataError where it is missing or no such file."""
    file = place / INDEX if place.is_dir() else place
    try:
        if file.stat().st_size > MAX_INDEX_BYTES:
            raise DataError(f"{file}: too large for an index of tensor files", _AGAIN)
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}", "name the folder that preprocess wrote") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is no JSON: {str(error)[:200]}", _AGAIN) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise DataError(f"{file}: is no index of tensor files ({SCHEMA})", "name the folder that preprocess wrote")
    try:
        return _parsed(file, value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: is not as preprocess writes it: {error!r}", _AGAIN) from error


def _parsed(file: Path, value: dict[str, Any]) -> TensorIndex:
    files, digests = {}, {}
    for entry in value["files"]:
        files[str(entry["file"])] = tuple(map(str, entry["ids"]))
        for row, digest in zip(entry["ids"], entry["sha256"], strict=True):
            digests[str(row).rpartition("#")[0] if value["views"] > 1 else str(row)] = str(digest)
    return TensorIndex(file, str(value["recipe"]), files, digests, tuple(map(str, value["skipped"])))
