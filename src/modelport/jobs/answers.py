"""The source model's outputs, kept per sample, so that a second engine does not pay for them again."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from modelport.core.artifacts import cache_folder, digest_json
from modelport.core.errors import OutputError
from modelport.core.values import Array, Tensors

# How rows are kept; another number is another store.
FORM = 3


class SourceAnswers:
    """A store of output rows by the sha256 of a sample's content. One store per model, recipe, seed and versions.

    SQLite keeps it whole through a kill and lets several runs write at once.
    """

    def __init__(self, weights_sha256: str, recipe_digest: str, seed: int) -> None:
        key = digest_json([FORM, weights_sha256, recipe_digest, seed, _versions()])
        self._path = cache_folder("answers") / f"{key}.sqlite"
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def holds(self, digest: str) -> bool:
        """Whether the answer for a sample of that content is there."""
        return self._ask("SELECT 1 FROM answers WHERE sample = ?", digest) is not None

    def get(self, digest: str) -> dict[str, Array] | None:
        """Return the outputs of one sample, without the batch axis, or None."""
        row = self._ask("SELECT outputs FROM answers WHERE sample = ?", digest)
        return None if row is None else _unpack(row[0])

    def put(self, rows: Mapping[str, Tensors]) -> None:
        """Keep the outputs of several samples, by the sha256 of their content; all or none."""
        packed = [(digest, _pack(outputs)) for digest, outputs in rows.items()]
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", packed)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, timeout=60.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (sample TEXT PRIMARY KEY, outputs BLOB) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return connection

    def _ask(self, query: str, digest: str) -> tuple[bytes] | None:
        try:
            row: tuple[bytes] | None = self._connection.execute(query, (digest,)).fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from error
        return row

    def _broken(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"the cache of source answers {self._path} fails: {error}", "delete that file, or free disk space"
        )


def split_rows(outputs: Tensors, count: int) -> list[dict[str, Array]]:
    """Return the first ``count`` rows of a batch's outputs, each without the batch axis."""
    return [{name: array[row] for name, array in outputs.items()} for row in range(count)]


def stack_rows(rows: list[dict[str, Array]]) -> dict[str, Array]:
    """Return rows as one batch: the inverse of ``split_rows``."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def answers_folder() -> Path:
    """Return where the answers are kept."""
    return cache_folder("answers")


def _pack(outputs: Tensors) -> bytes:
    """Return a line of JSON that tells names, dtypes and shapes, and then the values as they lie in memory."""
    head = [[name, array.dtype.str, list(array.shape)] for name, array in outputs.items()]
    return json.dumps(head).encode() + b"\n" + b"".join(array.tobytes() for array in outputs.values())


def _unpack(blob: bytes) -> dict[str, Array]:
    head, _, values = blob.partition(b"\n")
    rows, place = {}, 0
    for name, dtype, shape in json.loads(head):
        count = math.prod(shape)
        rows[name] = np.frombuffer(values, dtype, count, place).reshape(shape)
        place += rows[name].nbytes
    return rows


def _versions() -> dict[str, str]:
    """Return the versions that can move a source answer."""
    found = {}
    for package in ("modelport", "torch", "pillow", "opencv-python-headless"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
