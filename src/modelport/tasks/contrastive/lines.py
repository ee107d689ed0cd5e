"""What a line of predictions.jsonl tells of an image's two views, and the figure computed anew from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelport.tasks.judged import SURROGATE, Judged, Recounted


def judged(line: Mapping[str, Any], in_order: bool) -> Judged:
    """Return how an image was answered: the share of its views that find the other one, 0, 0.5 or 1.

    ``in_order``: the figure is the mean of these. Of pairs drawn with replacement it is not, since they stand among
    other images: there the share is a ``surrogate``, which may end a run early and is no figure. An image that fills no
    batch has none. The images agree where both views have the source's neighbours.
    """
    found, theirs, agrees = line["found"], line.get("source_found"), line.get("agrees")
    if found is None:
        return Judged(line["target"])
    values = {
        "contrastive_top1" if in_order else SURROGATE: (_share(found), None if theirs is None else _share(theirs))
    }
    return Judged(line["target"], None if agrees is None else all(agrees), values=values)


def recount(lines: Iterable[Mapping[str, Any]]) -> Recounted:
    """Return contrastive_top1 of pairs in order, in percent, of engine and source, by how many views were found.

    Raises KeyError, TypeError or ValueError for lines of another form.
    """
    views: dict[str, list[bool]] = {"found": [], "source_found": []}
    for line in lines:
        if line["found"] is not None:  # else it fills no batch
            for side, found in views.items():
                found += line[side] or ()
    mine, theirs = ({"contrastive_top1": 100.0 * _share(found)} if found else {} for found in views.values())
    return Recounted(mine, theirs)


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)
