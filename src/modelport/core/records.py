"""Small JSON records of the cache that carry their own sha256: one that does not verify is as good as none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelport.core.artifacts import digest_json, write_json
from modelport.core.errors import DataError
from modelport.core.json_text import read_json

OWN_DIGEST = "record_sha256"


def write_record(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` aside and move it into place, with its sha256 under ``record_sha256``. Raises OutputError."""
    write_json(path, value | {OWN_DIGEST: digest_json(value)})


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what ``write_record`` wrote there, None where it is missing, unreadable or not as it was written."""
    try:
        value = read_json(path)
    except DataError:
        return None
    if not isinstance(value, dict):
        return None
    told = value.pop(OWN_DIGEST, None)
    try:
        return value if told == digest_json(value) else None
    except (ValueError, RecursionError):  # a lone surrogate is no UTF-8
        return None
