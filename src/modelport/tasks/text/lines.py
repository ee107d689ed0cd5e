"""What a line of predictions.jsonl tells of a text, and the figures computed anew from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.ratios import RatioFigures


def judged(line: Mapping[str, Any]) -> Judged:
    """Return how a text was read; ``agrees`` is None where the source did not answer."""
    target, agrees = line["target"], line["agrees"]
    if target is None:
        return Judged(None, agrees)
    source = None if agrees is None else float(line["source_text"] == target)
    return Judged(target, agrees, values={"exact_match": (float(line["text"] == target), source)})


def recount(lines: Iterable[Mapping[str, Any]]) -> Recounted:
    """Return exact_match, edit_distance and cer of engine and source, each over the texts that it answered.

    There are none where a line has no target. Raises KeyError, TypeError or ValueError for lines of another form.
    """
    mine, theirs, both = [], [], []
    for line in lines:
        label = line["target"]
        if label is None:
            return Recounted({}, {})
        mine.append(_read(line["text"], label))
        if line["agrees"] is not None:
            theirs.append(_read(line["source_text"], label))
            both.append(mine[-1])
    if not theirs:
        return Recounted(_figures(mine), {})
    (_, away, letters), (_, other, _) = np.array(both).T, np.array(theirs).T
    return Recounted(_figures(mine), _figures(theirs), over_resamples(away, other, letters))


def over_resamples(engine: Array, source: Array, letters: Array) -> RatioFigures:
    """Return edit_distance and cer over resamples of texts: distances of engine and source, labels' lengths, (N,)."""
    parts = {"edit_distance": (engine, source, np.ones_like(letters)), "cer": (100 * engine, 100 * source, letters)}
    return RatioFigures(parts)


def _read(text: str | None, label: str) -> tuple[bool, int, int]:
    """Return whether a text is right, how far it is off, and its label's length."""
    return text == label, levenshtein(text or "", label), len(label)


def _figures(texts: Sequence[tuple[bool, int, int]]) -> dict[str, float]:
    if not texts:
        return {}
    exact, away, letters = (sum(column) for column in zip(*texts, strict=True))
    found = {"exact_match": 100.0 * exact / len(texts), "edit_distance": away / len(texts)}
    return found | ({"cer": 100.0 * away / letters} if letters else {})


def levenshtein(one: str, other: str) -> int:
    """Return the Levenshtein distance by code points.

    A column of the table is two integers, whose bits say where it rises and where it falls: Myers, J. ACM 46 (1999)
    395, https://doi.org/10.1145/316542.316550, with Hyyrö's distance of whole texts (2003).
    """
    if not other:
        return len(one)
    places: dict[str, int] = {}
    for place, letter in enumerate(other):
        places[letter] = places.get(letter, 0) | 1 << place
    every, last = (1 << len(other)) - 1, 1 << (len(other) - 1)
    rises, falls, distance = every, 0, len(other)
    for letter in one:
        equal = places.get(letter, 0)
        level = (((equal & rises) + rises) ^ rises) | equal | falls
        up, down = falls | (every & ~(level | rises)), rises & level
        distance += bool(up & last) - bool(down & last)
        up, down = up << 1 | 1, down << 1
        rises, falls = every & (down | ~(equal | falls | up)), every & up & (equal | falls)
    return distance
