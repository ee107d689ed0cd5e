"""Answers to be iterated again and again, in memory or in a folder, and found by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modelport.core.artifacts import prepare_output_folder
from modelport.core.errors import DataError, OutputError
from modelport.core.values import RowId, Tensors
from modelport.evaluate.store import RowStore, split_rows, stack_rows
from modelport.tasks.scoring import Rows

Find = Callable[[RowId, str], Tensors | None]


class HeldRows:
    """Answers in memory: taken once, iterated again and again in the pieces in which they came, and found by row."""

    def __init__(self) -> None:
        self._pieces: list[Rows] = []

    def take(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        """Keep rows and hand them on."""
        for piece in rows:
            self._pieces.append(piece)
            yield piece

    def __iter__(self) -> Iterator[Rows]:
        return iter(self._pieces)

    @contextmanager
    def finding(self) -> Iterator[Find]:
        """Yield what finds the outputs of a row."""
        found: dict[str, Tensors] = {}
        for piece in self._pieces:
            names = map(_name_of, piece.ids, piece.digests)
            found |= zip(names, split_rows(piece.outputs, len(piece.ids)), strict=True)
        yield lambda row, digest: found.get(_name_of(row, digest))


class KeptRows(HeldRows):
    """Answers whose outputs lie in a folder; the rest of the rows, which is small, stays in memory."""

    NAME = "answers.sqlite"

    def __init__(self, folder: Path) -> None:
        """Begin a store. Raises OutputError where the folder cannot be written, or holds one already."""
        super().__init__()
        self._path = folder / self.NAME
        if self._path.exists():
            raise OutputError(f"{self._path}: answers are kept there already", "name another folder, or delete it")
        prepare_output_folder(folder, self.NAME, force=True)

    def take(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        """Keep rows and hand them on. Raises OutputError where they cannot be written."""
        with self._store() as store:
            for piece in rows:
                names = map(_name_of, piece.ids, piece.digests)
                store.put(dict(zip(names, split_rows(piece.outputs, len(piece.ids)), strict=True)))
                self._pieces.append(replace(piece, outputs={}))
                yield piece

    def __iter__(self) -> Iterator[Rows]:
        """Yield the rows as they are read. Raises DataError where one is not there as it was kept."""
        with self.finding() as find:
            for piece in self._pieces:
                found = [row for row in map(find, piece.ids, piece.digests) if row is not None]
                if len(found) < len(piece.ids):
                    raise DataError(
                        f"{self._path}: kept answers are missing or damaged", "answer again, in a new folder"
                    )
                yield replace(piece, outputs=stack_rows(found))

    @contextmanager
    def finding(self) -> Iterator[Find]:
        """Yield what finds the outputs of a row in the store."""
        with self._store() as store:
            yield lambda row, digest: store.get(_name_of(row, digest))

    def _store(self) -> RowStore:
        return RowStore(self._path, "the kept answers")


def _name_of(row: RowId, digest: str) -> str:
    return f"{digest} {row}"
