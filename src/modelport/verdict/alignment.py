"""Whether labels and models count the classes alike: another numbering of the labels must not fit better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from modelport.core.text import plain, some
from modelport.core.values import Check
from modelport.tasks.answered import Answered, Numbering
from modelport.verdict.binomial import at_least
from modelport.verdict.chance import SIGNIFICANCE
from modelport.verdict.words import FAIL, INCONCLUSIVE, PASS

NAME = "labels_aligned"
# The share of labels above which moves that close no circle are a permutation.
MOVED = 0.25


@dataclass(frozen=True, slots=True)
class Found:
    """A numbering that matches more answers than the labels as they are."""

    hits: int
    straight: int
    how: str


def aligned(numbering: Numbering, names: Mapping[int, str]) -> Check:
    """Hold the labels as they are against other numberings; ``names`` are the classes' by label.

    Where the source's own answers fit another numbering better, its figures mean nothing and the check is inconclusive;
    where the engine's alone do, it fails: the source shows that the labels are right.
    """
    source = None if numbering.source is None else _other(numbering.source, numbering, names)
    found = source or _other(numbering.engine, numbering, names)
    if found is None:
        straight = numbering.engine.offsets(numbering.classes)[0]
        return Check(NAME, PASS, straight, straight, "no other numbering of the classes matches better")
    whose = "the engine's" if source is None else "the source's"
    why = f"{found.how}, the labels would match {found.hits} of {whose} answers, as they are they match "
    why += f"{found.straight}: look at the "
    if source is None and numbering.source is not None:
        why += "order of the model's classes, for the source's answers fit the labels"
        return Check(NAME, FAIL, found.straight, found.hits, why)
    why += "label file, at the order of the classes and at dataset.label_offset"
    return Check(NAME, INCONCLUSIVE, found.straight, found.hits, why)


def _other(answered: Answered, numbering: Numbering, names: Mapping[int, str]) -> Found | None:
    """Return a numbering that fits better; all classes moved by as many are looked at before single ones."""
    return _moved(answered.offsets(numbering.classes)) or _permuted(answered, names)


def _moved(offsets: Counter[int]) -> Found | None:
    """Hold the labels against the same, all moved by some number of classes.

    A sign test over the answers that decide between the two, at half of SIGNIFICANCE, corrected for as many numberings
    as were seen.
    """
    if not offsets:
        return None
    straight = offsets[0]
    offset, hits = max(offsets.items(), key=lambda entry: entry[1])
    if offset == 0 or at_least(hits, hits + straight, 0.5) >= SIGNIFICANCE / 2 / len(offsets):
        return None
    return Found(hits, straight, f"moved by {offset}")


def _permuted(answered: Answered, names: Mapping[int, str]) -> Found | None:
    """Learn on one half of the samples what each label is answered as, and hold that against the labels on the other.

    The sign test on the other half, at the other half of SIGNIFICANCE, needs no further correction: it is one test,
    however many permutations there are to learn.
    """
    learned, tested = answered.halves
    moves = permutation(learned)
    hits = sum(count for (label, answer), count in tested.items() if moves.get(label) == answer)
    straight = sum(tested[label, label] for label in moves)
    if not moves or at_least(hits, hits + straight, 0.5) >= SIGNIFICANCE / 2:
        return None
    pairs, whole = answered.pairs, Counter[int]()
    for (label, _), count in pairs.items():
        whole[label] += count
    often = sorted(moves.items(), key=lambda move: (-pairs[move], move))
    told = [
        f"label {_named(label, names)} is answered as {_named(answer, names)} ({pairs[label, answer]} of "
        f"{whole[label]} times)"
        for label, answer in often
    ]
    return Found(hits, straight, f"in another order ({some(told)}), learned on one half of the samples, on the other")


def permutation(pairs: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Return the labels that a permutation moves, and whereto: to the class that each is mostly answered as.

    A model that takes one class for another answers both as that one. So a label that is mostly answered as its own
    class keeps it, and of others that claim a class the one that is answered so most often has it. Circles of labels
    are a permutation. Other moves are one only where more than a quarter of the labels are moved: few may be classes
    that the model does not know, answered as others that no label names.
    """
    best: dict[int, int] = {}
    # Of equal counts a label's own class is first, then the lowest.
    for (label, answer), _ in sorted(pairs.items(), key=lambda entry: (-entry[1], len(set(entry[0])), entry[0])):
        best.setdefault(label, answer)
    claims = {label: label for label, answer in best.items() if label == answer}
    for label, answer in best.items():  # the most frequent first
        claims.setdefault(answer, label)
    moves = {label: answer for answer, label in claims.items() if label != answer}
    if len(moves) > max(1, len(best) * MOVED):
        return moves
    for end in set(moves.values()) - set(moves):
        while end in claims:
            end = claims.pop(end)
            del moves[end]
    return moves


def _named(label: int, names: Mapping[int, str]) -> str:
    name = names.get(label)
    return f"{label} ({plain(name, 40)})" if name else str(label)
