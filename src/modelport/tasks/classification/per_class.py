"""Of each class how many images were right, and which classes are taken for which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelport.core.values import Array

# Pairs of classes that a result tells.
CONFUSIONS = 20
# Classes that a result tells: of more, those of the most images.
CLASSES = 1000


class ClassCounts:
    """Counts by class of the output; ``names`` are the labels', label 0 is class ``offset``."""

    def __init__(self, names: Sequence[str] = (), offset: int = 0) -> None:
        self._names, self._offset = names, offset
        self._n: Counter[int] = Counter()
        self._right: Counter[int] = Counter()
        self._sourced: Counter[int] = Counter()
        self._source_right: Counter[int] = Counter()
        self._taken: Counter[tuple[int, int]] = Counter()

    def take(self, targets: Sequence[int], ranks: Array, answers: Array) -> None:
        """Count rows: classes (N,), the target's rank in the outputs (N,) from 0, and the best class (N,)."""
        self._n.update(targets)
        for target, rank, answer in zip(targets, ranks.tolist(), answers.tolist(), strict=True):
            if rank == 0:
                self._right[target] += 1
            elif answer != target:  # a tie that counts against the target is no confusion
                self._taken[target, answer] += 1

    def take_source(self, targets: Sequence[int], ranks: Array) -> None:
        """Count the source's answers to rows."""
        self._sourced.update(targets)
        self._source_right.update(target for target, rank in zip(targets, ranks.tolist(), strict=True) if rank == 0)

    def per_class(self) -> list[dict[str, Any]]:
        """Return by class its images and top1, and the source's, in percent; of 1,000 classes at most."""
        told = sorted(label for label, _ in self._n.most_common(CLASSES))
        return [
            {
                "class": label,
                "name": self._name(label),
                "n": self._n[label],
                "top1": _share(self._right[label], self._n[label]),
                "source": _share(self._source_right[label], self._sourced[label]),
            }
            for label in told
        ]

    def confusions(self) -> list[dict[str, Any]]:
        """Return the 20 most frequent pairs of the right class and another that was answered."""
        # Of equal counts those that are first by class: the result does not hang on the order of the rows.
        often = sorted(self._taken.items(), key=lambda entry: (-entry[1], entry[0]))[:CONFUSIONS]
        return [
            {"target": target, "answer": answer, "count": count}
            | ({"target_name": self._name(target), "answer_name": self._name(answer)} if self._names else {})
            for (target, answer), count in often
        ]

    def notes(self) -> list[str]:
        """Return what of the classes is not told."""
        left = len(self._n) - CLASSES
        return [f"per_class holds the {CLASSES} classes of the most images, {left} are left out"] if left > 0 else []

    def _name(self, label: int) -> str:
        place = label - self._offset
        return self._names[place] if 0 <= place < len(self._names) else ""


def _share(right: int, n: int) -> float | None:
    return 100.0 * right / n if n else None
