"""Saved outputs → rows in the order of the data set, each result paired with its sample by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from modelport.core import machine
from modelport.core.artifacts import digest_bytes
from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.text import some
from modelport.core.values import Array, RowId, Sample, Signature, Tensors
from modelport.data.files.guide_names import claimed_rows, result_stem, row_ids
from modelport.data.files.result_files import Results, read_outputs
from modelport.data.files.tensor_index import TensorIndex, hold_index, hold_sizes
from modelport.evaluate.result_runs import dropped_batch
from modelport.recipes.schema import Recipe
from modelport.tasks.scoring import Rows

ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one result, and the samples that they belong to."""

    stem: str
    start: int
    stop: int
    rows: Sequence[RowId]
    samples: Sequence[Sample]


@dataclass(slots=True)
class Seen:
    """What was met on the way."""

    digests: dict[str, str] = field(default_factory=dict)  # sample id → sha256 of its content
    said: set[str] = field(default_factory=set)


def pair(
    results: Results, samples: Sequence[Sample], recipe: Recipe, index: TensorIndex | None
) -> tuple[list[Piece], dict[str, int]]:
    """Return which rows of which result answer the samples, in order, and how many rows each result must have.

    Raises DataError for results without a sample, samples without a result, and samples with two, by name.
    """
    views = recipe.dataset.views
    rows = row_ids(samples, views)
    claims = _claims(results, rows, recipe, index)
    place: dict[str, tuple[str, int]] = {}
    known = set(rows)
    if strange := [stem for stem in results.files if stem not in claims or not known.issuperset(claims[stem])]:
        raise DataError(
            f"{results.folder}: {len(strange)} results are of no sample of the data set: {_files(results, strange)}",
            "check --data and --limit; if images were skipped, give --tensors DIR, which preprocess wrote",
        )
    for stem in results.files:
        for number, row in enumerate(claims[stem]):
            if row in place:
                raise DataError(
                    f"{results.folder}: two results of {row}: {_files(results, [place[row][0], stem])}",
                    "keep one of the two; if images were skipped, give --tensors DIR, which preprocess wrote",
                )
            place[row] = stem, number
    if missing := [row for row in rows if row not in place]:
        raise DataError(
            f"{results.folder}: {len(missing)} of {len(rows)} rows have no result: {some(missing)}"
            f"{dropped_batch([str(row) for row in missing], [str(row) for row in rows], results.folder)}",
            "run the inference on all of them, or evaluate with the same --limit; "
            "if images were skipped, give --tensors DIR, which preprocess wrote",
        )
    pieces = _pieces(rows, place, [sample for sample in samples for _ in range(views)])
    return pieces, {stem: len(claimed) for stem, claimed in claims.items()}


def without_skipped(
    recipe: Recipe, samples: Sequence[Sample], index: TensorIndex | None
) -> tuple[Sequence[Sample], list[str]]:
    """Return the samples that have tensors, and the ids of those that ``preprocess`` skipped.

    Raises DataError for tensors that another recipe made, or that are not whole.
    """
    if index is None:
        return samples, []
    hold_index(index, recipe)
    hold_sizes(index)
    gone = set(index.skipped)
    skipped = [sample.id for sample in samples if sample.id in gone]
    return [sample for sample in samples if sample.id not in gone], skipped


def _claims(
    results: Results, rows: Sequence[str], recipe: Recipe, index: TensorIndex | None
) -> Mapping[str, Sequence[str]]:
    if index is not None:
        return {result_stem(name): ids for name, ids in index.files.items() if result_stem(name) in results.files}
    stems = list(results.files)
    per_file = 1
    if recipe.guide_files is not None and recipe.guide_files.names == "batch_number":
        # The first file is a full one, if any is.
        outputs, _ = read_outputs(results.files[min(stems)], recipe.signature.outputs)
        per_file = len(next(iter(outputs.values())))
    return claimed_rows(stems, rows, recipe.guide_files, per_file)


def _pieces(rows: Sequence[RowId], place: Mapping[str, tuple[str, int]], samples: Sequence[Sample]) -> list[Piece]:
    pieces: list[Piece] = []
    start = 0
    for index in range(1, len(rows) + 1):
        stem, number = place[rows[start]]
        if index < len(rows) and place[rows[index]] == (stem, number + index - start):
            continue
        pieces.append(Piece(stem, number, number + index - start, rows[start:index], samples[start:index]))
        start = index
    return pieces


@dataclass(frozen=True, slots=True)
class SavedRows:
    """Reads pieces by threads and yields them as rows for a scorer."""

    results: Results
    sizes: Mapping[str, int]  # stem → rows that its result must have
    signature: Signature
    place: Callable[[bytes, str], Placement | None]
    seen: Seen

    def stream(self, pieces: Sequence[Piece]) -> Iterator[Rows]:
        """Yield the rows in order, about 64 at a time. Raises DataError for a file that is not whole."""
        flights: deque[Future[tuple[Piece, Tensors, list[tuple[str, Any]], set[str]]]] = deque()
        waiting = iter(pieces)
        landed: list[tuple[Piece, Tensors, list[tuple[str, Any]]]] = []
        held = 0
        with ThreadPoolExecutor(machine.cores(), thread_name_prefix="modelport-results") as pool:
            try:
                for piece in islice(waiting, 4 * machine.cores()):
                    flights.append(pool.submit(self._load, piece))
                while flights:
                    piece, outputs, facts, said = flights.popleft().result()
                    flights.extend(pool.submit(self._load, one) for one in islice(waiting, 1))
                    self._note(piece, facts, said)
                    landed.append((piece, outputs, facts))
                    held += len(piece.rows)
                    if held >= ROWS_AT_ONCE:
                        yield _joined(landed)
                        landed, held = [], 0
                if landed:
                    yield _joined(landed)
            finally:
                for flight in flights:
                    flight.cancel()

    def _load(self, piece: Piece) -> tuple[Piece, Tensors, list[tuple[str, Any]], set[str]]:
        """Read one piece, and its samples for their digests and places (in a worker thread)."""
        files = self.results.files[piece.stem]
        outputs, said = read_outputs(files, self.signature.outputs)
        found = len(next(iter(outputs.values())))
        if found != self.sizes[piece.stem]:
            raise DataError(
                f"{files[0]}: {found} rows, and its name stands for {self.sizes[piece.stem]}",
                "check --data and --limit; if images were skipped, give --tensors DIR, which preprocess wrote",
            )
        facts: list[tuple[str, Any]] = []
        for number, sample in enumerate(piece.samples):
            # Two views of one sample lie side by side.
            if number and piece.samples[number - 1] is sample:
                facts.append(facts[-1])
                continue
            content = sample.read()
            facts.append((digest_bytes(content), self.place(content, str(sample.path))))
        return piece, {name: array[piece.start : piece.stop] for name, array in outputs.items()}, facts, said

    def _note(self, piece: Piece, facts: list[tuple[str, Any]], said: set[str]) -> None:
        self.seen.said |= said
        for sample, (digest, _) in zip(piece.samples, facts, strict=True):
            self.seen.digests[sample.id] = digest


def _joined(landed: Sequence[tuple[Piece, Tensors, list[tuple[str, Any]]]]) -> Rows:
    outputs: dict[str, Array] = {
        name: np.concatenate([tensors[name] for _, tensors, _ in landed]) for name in landed[0][1]
    }
    return Rows(
        [row for piece, _, _ in landed for row in piece.rows],
        [sample.target for piece, _, _ in landed for sample in piece.samples],
        outputs,
        None,
        [place for _, _, facts in landed for _, place in facts],
        [digest for _, _, facts in landed for digest, _ in facts],
        [sample.facts or {} for piece, _, _ in landed for sample in piece.samples],
    )


def _files(results: Results, stems: Sequence[str]) -> str:
    return some([path.name for stem in stems for path in list(results.files[stem].values())[:1]])
