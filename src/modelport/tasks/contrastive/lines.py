"""What a line of predictions.jsonl tells of an image's two views, and the figure computed anew from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import SURROGATE, Judged, MeanFigures, Recounted


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

    An image that fills no batch does not count. Raises KeyError, TypeError or ValueError for lines of another form.
    """
    found = [(line["found"], line["source_found"]) for line in lines if line["found"] is not None]
    both = [(sum(mine), sum(theirs)) for mine, theirs in found if theirs is not None]
    engine, source = (
        {"contrastive_top1": 100.0 * _share(list(chain.from_iterable(views)))} if views else {}
        for views in ([mine for mine, _ in found], [theirs for _, theirs in found if theirs is not None])
    )
    return Recounted(engine, source, over_resamples(*np.array(both).T) if both else None)


def over_resamples(engine: Array, source: Array) -> MeanFigures:
    """Return the figure over resamples of images, of which engine and source find so many views, (n,) each.

    An image's share is that among the others of its batch, which stay.
    """
    return MeanFigures({"contrastive_top1": (50.0 * engine, 50.0 * source)})


def _share(found: list[bool]) -> float:
    return sum(found) / len(found)
