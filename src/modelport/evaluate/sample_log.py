"""``samples.jsonl``: a line for each scored sample, from which figures and verdicts can be computed anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TextIO

from modelport.core.values import RowId
from modelport.tasks.base import Task
from modelport.tasks.judged import Judged
from modelport.tasks.scoring import Rows

SAMPLES = "samples.jsonl"


class SampleLog:
    """Writes the line of a sample when its answer is scored, which may be later than its rows came."""

    def __init__(self, task: Task, stream: TextIO, labels: bool, weights: Mapping[str, float] | None = None) -> None:
        """``labels``: whether they are looked at; else nobody is right or wrong. ``weights`` by sample; None: all 1."""
        self._task, self._stream, self._labels = task, stream, labels
        self._weights = weights or {}
        self._waiting: dict[str, dict[str, Any]] = {}
        self._targets: dict[str, Any] = {}
        self._drawn = 0

    def expect(self, rows: Rows) -> None:
        """Take what is known of rows before they are scored: content, place in the order, weight, facts."""
        for place, (row, digest, target) in enumerate(zip(rows.ids, rows.digests, rows.targets, strict=True)):
            if row.view:
                continue
            name = row.sample
            told = {"id": name, "sha256": digest, "draw": self._drawn}
            told["weight"] = self._weights.get(name, 1.0)
            if rows.facts and rows.facts[place]:
                told["facts"] = dict(rows.facts[place])
            self._waiting[name], self._targets[name] = told, target
            self._drawn += 1

    def write(self, lines: Iterable[Mapping[str, Any]]) -> list[Judged]:
        """Write the samples of these lines of predictions.jsonl; return how they were answered, in their order."""
        found = []
        for line in lines:
            name = line["id"].sample if isinstance(line["id"], RowId) else line["id"]
            judged = self._task.judged(line, self._targets.pop(name))
            if not self._labels:
                judged = replace(judged, target=None, values={})
            told = self._waiting.pop(name)
            judged = replace(judged, weight=told["weight"])
            facts = {"facts": told.pop("facts")} if "facts" in told else {}
            record = told | judged.to_json(self._task.deciding) | facts
            self._stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            found.append(judged)
        return found
