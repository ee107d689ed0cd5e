"""Which samples of a data set are scored, and which of them are counted: a seeded draw, and each content once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from modelport.core.errors import UsageError, unknown
from modelport.core.values import DataSet, Sample

Order = Literal["data", "random", "margin"]
# By the source's margins: drawn when its answers are there, of samples that were drawn at random under a limit.
MARGIN = "margin"


def chosen_samples(
    dataset: DataSet, limit: int | None, order: str | None, seed: int, until_decided: bool = False
) -> tuple[Sequence[Sample], list[str]]:
    """Return the samples to score, and what is to be said of the choice.

    ``order`` None is ``random`` under a limit, else ``data``. A data set is often sorted by class: its first samples
    would be of one class. The same seed draws the same samples in every command. A run that stops ``until_decided``
    takes all at random. Raises UsageError.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}", "give a number of at least 1")
    if order is not None and order not in get_args(Order):
        raise UsageError(f"--order {order}", unknown("orders", order, get_args(Order)))
    if until_decided and order == "data":
        raise UsageError(
            "--until-decided --order data: the first samples of a data set need not be like the others",
            "leave --order out: samples are drawn at random",
        )
    order = "random" if until_decided and order is None else order
    total = len(dataset)
    if order == MARGIN and not until_decided:
        raise UsageError("--order margin: samples are drawn by it only until the verdict is decided", "leave it out")
    order = None if order == MARGIN else order
    if order == "data" or (order is None and (limit is None or limit >= total)):
        cut = limit is not None and limit < total
        said = f"the first {limit} of {total} samples, in the data set's order (--order data)"
        return dataset[:limit], [said] if cut else []
    drawn = np.random.default_rng(seed).permutation(total)[:limit]
    said = f"{len(drawn)} of {total} samples, drawn at random with seed {seed}"
    return [dataset[int(index)] for index in drawn], [said]


class Uniques:
    """Tells which rows are of a content that another sample already brought: it is counted once.

    ``keep_all``: on the full published set every sample counts, as published.
    """

    def __init__(self, keep_all: bool = False) -> None:
        self._keep_all = keep_all
        self._first: dict[str, str] = {}
        self.repeated: dict[str, str] = {}  # sample → the sample that has the same content

    def kept(self, samples: Iterable[str], contents: Iterable[str]) -> list[bool]:
        """Return for each row whether it counts; ``samples`` are the rows' sample ids, ``contents`` their sha256."""
        counts = []
        for sample, content in zip(samples, contents, strict=True):
            first = self._first.setdefault(content, sample)
            if first != sample:
                self.repeated[sample] = first
            counts.append(self._keep_all or first == sample)
        return counts
