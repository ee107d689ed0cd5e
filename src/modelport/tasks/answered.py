"""Which class was answered to which label: what tells another numbering of the classes from wrong answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from modelport.core.values import Array, RowId

Pairs = Counter[tuple[int, int]]
"""(label, answered class) → how many samples; labels are counted as the output counts its classes."""


def half_of(row: RowId) -> int:
    """Return in which half of the samples a row is, 0 or 1, by its id alone."""
    return blake2b(row.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] & 1


class Answered:
    """Counts the pairs of label and answer of one model, apart for two halves of the samples.

    What is learned on one half can be tested on the other. A row's half hangs on its id alone, neither on the order
    of a data set nor on what was answered.
    """

    def __init__(self) -> None:
        self.halves: tuple[Pairs, Pairs] = (Counter(), Counter())

    def take(self, ids: Iterable[RowId], labels: Iterable[int], answers: Array) -> None:
        """Count rows; ``answers`` are their best classes, int (N,)."""
        for row, label, answer in zip(ids, labels, answers.tolist(), strict=True):
            self.halves[half_of(row)][label, answer] += 1

    @property
    def pairs(self) -> Pairs:
        """The counts of all samples."""
        return self.halves[0] + self.halves[1]

    def offsets(self, classes: int) -> Counter[int]:
        """Return how often the answer lies so many classes behind the label, modulo ``classes``."""
        found: Counter[int] = Counter()
        for (label, answer), count in self.pairs.items():
            found[(answer - label) % classes] += count
        return found

    def share_by_chance(self, other: Answered) -> float:
        """Return the share of equal answers, 0 to 1, had both answered by themselves, each class as often as now."""
        mine, theirs = self._classes(), other._classes()
        met = sum(count * theirs[kind] for kind, count in mine.items())
        return met / (mine.total() * theirs.total()) if mine and theirs else 0.0

    def _classes(self) -> Counter[int]:
        found: Counter[int] = Counter()
        for (_, answer), count in self.pairs.items():
            found[answer] += count
        return found


@dataclass(frozen=True, slots=True)
class Numbering:
    """What the engine and, where it answered all samples too, the source answered to the labels of ``classes``."""

    classes: int
    engine: Answered
    source: Answered | None
