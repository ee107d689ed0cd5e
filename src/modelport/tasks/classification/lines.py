"""What a line of predictions.jsonl tells of a classified image: whether it was right, and the figures counted anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelport.tasks.judged import Judged, Recounted

FIRST = 5
Best = Sequence[tuple[int, float | None]]
"""(class, score) of the best five, best first; None for a score that JSON cannot hold."""


def judged(line: Mapping[str, Any], metrics: Sequence[str]) -> Judged:
    """Return how an image was answered; ``metrics`` are top1 … top5."""
    rank, other, theirs = line["rank"], line["source_rank"], line["source_top5"]
    values = {
        name: (float(rank < int(name[3:])), None if other is None else float(other < int(name[3:]))) for name in metrics
    }
    if theirs is None:
        return Judged(line["target"], values=values)
    return Judged(line["target"], agree(line["top5"], theirs), margin(theirs), values)


def agree(mine: Best, theirs: Best) -> bool:
    """Whether both have the same best class, and neither a NaN there."""
    (first, score), (other, reference) = mine[0], theirs[0]
    return first == other and score is not None and reference is not None


def margin(best: Best) -> float | None:
    """Return the first score minus the second; None where there is no second, or one is not finite."""
    if len(best) < 2 or best[0][1] is None or best[1][1] is None:
        return None
    return best[0][1] - best[1][1]


def recount(lines: Iterable[Mapping[str, Any]]) -> Recounted:
    """Return top1 … top5 in percent, of engine and source, by the places of the target among the best classes.

    Where the target's score is that of the last class that is listed, others may be as good: there the line's own rank
    is taken. Raises KeyError, TypeError or ValueError for lines of another form.
    """
    hits = {side: [0] * FIRST for side in ("", "source_")}
    n = dict.fromkeys(hits, 0)
    for line in lines:
        for side, found in hits.items():
            if line[f"{side}top5"] is None:
                continue
            n[side] += 1
            rank = _rank(line[f"{side}top5"], line["target"], line[f"{side}rank"])
            for k in range(rank, FIRST):
                found[k] += 1
    shares = {
        side: {f"top{k + 1}": 100.0 * count / n[side] for k, count in enumerate(found)} if n[side] else {}
        for side, found in hits.items()
    }
    return Recounted(shares[""], shares["source_"])


def _rank(best: Best, target: int, told: int) -> int:
    """Return how many other classes score at least as high as the target; FIRST where it is not listed."""
    own = next((score for kind, score in best if kind == target), None)
    if own is None or best[-1][1] is None or own <= best[-1][1]:
        return told
    return sum(1 for kind, score in best if kind != target and score is not None and score >= own)
