"""Output rows in a file: the source's, so that a second engine does not pay for them again, and those to be kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from modelport.core.artifacts import cache_folder, cannot_write, digest_json
from modelport.core.errors import OutputError
from modelport.core.values import Array, Tensors

# How rows are kept; another number is another store.
FORM = 4
# What SQLite says where the machine is at fault; whatever else it says of these queries is damage to the file.
MACHINE = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT),
)
# The same where the file cannot be opened or written; where it can be, its header asks for what SQLite does not do.
ACCESS = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH)


class RowStore:
    """A store of output rows by name, in a file of SQLite, which keeps it whole through a kill.

    Several runs may write at once. Each row carries a digest: one that does not verify is as good as none. A file that
    is damaged as a whole is set aside, and a new one begun. ``shown`` is what errors call it.
    """

    def __init__(self, path: Path, shown: str) -> None:
        self._path, self._shown = path, shown
        self._bad: set[str] = set()  # samples whose row did not verify
        self._set_aside: list[Path] = []
        self._opened: tuple[int, int] | None = None
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def holds(self, digest: str) -> bool:
        """Whether the answer for a sample of that content is there, as it was kept."""
        return self._verified(digest) is not None

    @property
    def times_begun_anew(self) -> int:
        """How often a damaged store was set aside: what was held before is then held no longer."""
        return len(self._set_aside)

    def get(self, digest: str) -> dict[str, Array] | None:
        """Return the outputs of one sample, without the batch axis, or None."""
        blob = self._verified(digest)
        return None if blob is None else _unpack(blob)

    def put(self, rows: Mapping[str, Tensors]) -> None:
        """Keep the outputs of several samples, by the sha256 of their content; all or none."""
        packed = [(digest, blob := _pack(outputs), _row_digest(digest, blob)) for digest, outputs in rows.items()]
        try:
            self._insert(packed)
        except sqlite3.Error as error:
            self._begin_anew(error)
            try:
                self._insert(packed)
            except sqlite3.Error as again:
                raise self._broken(again) from again

    def _insert(self, packed: list[tuple[str, bytes, bytes]]) -> None:
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", packed)

    def _open(self) -> sqlite3.Connection:
        try:
            connection = _connected(self._path)
        except sqlite3.Error as error:
            self._move_aside(error)
            try:
                connection = _connected(self._path)
            except sqlite3.Error as again:
                raise self._broken(again) from again
        self._opened = _file_at(self._path)
        return connection

    def _verified(self, sample: str) -> bytes | None:
        """Return what is kept for a sample, None where it is missing or not as it was written."""
        try:
            row = self._connection.execute("SELECT outputs, sha256 FROM answers WHERE sample = ?", (sample,)).fetchone()
        except sqlite3.Error as error:
            self._begin_anew(error)
            return None
        if row is None:
            return None
        if not isinstance(row[0], bytes) or row[1] != _row_digest(sample, row[0]):
            self._bad.add(sample)
            return None
        return row[0]

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self._move_aside(error)
        self._connection.close()
        self._connection = self._open()

    def _move_aside(self, error: sqlite3.Error) -> None:
        """Rename a damaged store. Raises OutputError where the fault is another one, or it cannot be renamed."""
        if not self._is_damage(error):
            raise self._broken(error) from error
        aside = self._path.with_suffix(".damaged")
        try:
            # Where it is another file by now, another run has set the damaged one aside.
            if self._opened is None or self._opened == _file_at(self._path):
                self._path.replace(aside)
                for log in ("-wal", "-shm"):  # they belong to the damaged file
                    self._path.with_name(self._path.name + log).unlink(missing_ok=True)
        except OSError as failed:
            raise cannot_write(self._path, failed) from failed
        self._opened = None
        self._set_aside.append(aside)

    def _is_damage(self, error: sqlite3.Error) -> bool:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or (kind := code & 0xFF) in MACHINE:  # the low byte is the kind
            return False
        return kind not in ACCESS or (self._path.is_file() and os.access(self._path, os.R_OK | os.W_OK))

    def _broken(self, error: sqlite3.Error) -> OutputError:
        return OutputError(f"{self._shown} {self._path} fails: {error}", "delete that file, or free disk space")


class SourceAnswers(RowStore):
    """The source's rows by the sha256 of a sample's content. One store per model, recipe, seed and versions."""

    def __init__(self, weights_sha256: str, recipe_digest: str, seed: int) -> None:
        key = digest_json([FORM, weights_sha256, recipe_digest, seed, _versions()])
        super().__init__(cache_folder("answers") / f"{key}.sqlite", "the cache of source answers")

    @property
    def notes(self) -> list[str]:
        """What is to be said of the store."""
        said = [f"the cache of source answers was damaged: set aside as {path}" for path in self._set_aside]
        if self._bad:
            said.append(f"{len(self._bad)} kept answers of the source did not verify and were computed again")
        return said


# (row, sha256 of its sample) → the outputs that answer it, without the batch axis; None where there are none.


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60.0)
    connection.text_factory = bytes  # a damaged type must not be decoded
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (sample TEXT PRIMARY KEY, outputs BLOB, sha256 BLOB) WITHOUT ROWID"
        )
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _row_digest(sample: str, blob: bytes) -> bytes:
    """Return the sha256 of a row: the name is in it, so that no row verifies in another's place."""
    return hashlib.sha256(sample.encode() + b"\n" + blob).digest()


def split_rows(outputs: Tensors, count: int) -> list[dict[str, Array]]:
    """Return the first ``count`` rows of a batch's outputs, each without the batch axis."""
    return [{name: array[row] for name, array in outputs.items()} for row in range(count)]


def stack_rows(rows: Sequence[Tensors]) -> dict[str, Array]:
    """Return rows as one batch: the inverse of ``split_rows``."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


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
