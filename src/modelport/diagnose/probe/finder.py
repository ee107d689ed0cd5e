"""How images are prepared for an unknown classifier: the likeliest way, and those that cannot be told from it.

Settings are searched one coordinate at a time, on 32 images, on half of all and on all; what is certainly worse goes.
What is left of each coordinate is then run in combination. Labels tell as much as the paired log-loss does: settings
that hardly change an answer stay together, and that is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from modelport.core.progress import SILENT, Bar, Progress
from modelport.core.values import Array, Sample
from modelport.diagnose.changes.constants import OPENCV_UNTRIED, opencv_is_there
from modelport.diagnose.probe.finder_rows import Asked, PreparedRows
from modelport.diagnose.probe.finder_settings import COORDINATES, Coordinate, Setting, Space, Steps, moved, value_of
from modelport.diagnose.probe.finder_weights import added, credible, evidence, limit, weights
from modelport.diagnose.probe.information import information
from modelport.diagnose.scores import Kind, kind_of, logits_of
from modelport.engines.base import Runner
from modelport.tasks.judged import Floats
from modelport.verdict.binomial import at_least
from modelport.verdict.chance import SIGNIFICANCE

# Labelled images: with fewer little can be told, with more each setting costs too much.
FEWEST, MOST = 64, 128
# Images that all values of a coordinate are tried on.
FIRST = 32
# Images that the model may be given, all settings together.
MAX_RUNS = 4000
# Evidence, in nats, from which on a setting is looked at no further: one in 3,000.
CERTAIN = 8.0
# Combinations that have this share of the weight together are run, as far as the runs reach.
RUN = 0.99
LIKELY = 0.95
BATCH = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. ``setting`` None: nothing can be told, and ``sentence`` says why and what would settle it."""

    setting: Setting | None
    sentence: str
    images: int
    runs: int
    steps: Steps = field(default_factory=list)  # of the likeliest setting
    label_offset: int = 0
    told: Mapping[Setting, float] = field(default_factory=dict)
    """What the labels cannot tell apart at 95 %, the likeliest first, each with its weight among all (0 to 1)."""
    scores: Kind = Kind.LOGITS
    top1: float = 0.0  # percent, of the setting with the least loss
    alike: float = 100.0  # percent of the images for which every setting that is told names the same class

    @property
    def confidence(self) -> float:
        """The weight of the likeliest setting, 0 to 1, from the labels and from how usual it is."""
        return 0.0 if self.setting is None else self.told[self.setting]

    @property
    def likely(self) -> tuple[Setting, ...]:
        """The fewest settings that have 95 % of the weight of what is told together, the likeliest first."""
        return credible(self.told, LIKELY)

    @property
    def values(self) -> dict[Coordinate, dict[str, float]]:
        """What the settings that are told have in each coordinate, the likeliest setting's first, with its weight."""
        return by_coordinate(self.told)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "setting": None if self.setting is None else str(self.setting),
            "confidence": self.confidence,
            "values": self.values,
            "told": {str(setting): share for setting, share in self.told.items()},
            "label_offset": self.label_offset,
            "scores": self.scores.value,
            "top1": self.top1,
            "alike": self.alike,
            "images": self.images,
            "runs": self.runs,
            "sentence": self.sentence,
        }


def find(
    runner: Runner,
    space: Space,
    samples: Sequence[Sample],
    *,
    input_name: str,
    output: str,
    offsets: Sequence[int] = (0, 1),
    batch: int = BATCH,
    progress: Progress = SILENT,
) -> Found:
    """Return the likeliest setting for ``samples`` (64 to 128 are used, targets are classes from 0).

    ``output`` names the scores (N, C); ``offsets`` are what may be added to a label to get its place among them;
    ``batch`` is what the runner takes at once. Raises BadSampleError for an image that cannot be read, EngineError
    where the model fails.
    """
    samples = samples[:MOST]
    targets = np.array([sample.target for sample in samples], np.int64)
    if len(samples) < FEWEST:
        why = f"{len(samples)} labelled images are too few; give at least {FEWEST}, better {MOST}"
        return Found(None, f"the preprocessing cannot be told: {why}", len(samples), 0)
    with progress.bar("finding the preprocessing", None, "images") as bar:
        asked = Asked(runner, PreparedRows(space, samples), input_name, output, batch)
        return _Search(asked, space, targets, offsets, bar).found()


class _Search:
    def __init__(self, asked: Asked, space: Space, targets: Array, offsets: Sequence[int], bar: Bar) -> None:
        self._asked, self._space, self._targets, self._bar = asked, space, targets, bar
        self._offsets, self._offset = offsets, offsets[0]
        self._kind = Kind.LOGITS
        self._losses: dict[tuple[Setting, int, int], Floats] = {}

    def found(self) -> Found:
        """Search, and say what was found."""
        n = len(self._targets)
        first = self._scores(self._space.start, FIRST)
        if first.ndim != 2 or first.dtype.kind != "f":
            return self._nothing("the output is no row of scores for each image: only scores tell settings apart")
        self._offsets = [one for one in self._offsets if int(self._targets.max()) + one < first.shape[1]]
        if not self._offsets:
            return self._nothing(f"there are labels beyond the {first.shape[1]} scores")
        self._kind = kind_of(first)
        ran = self._combined(*self._coordinates(n))
        best = min(ran, key=lambda setting: float(ran[setting].mean()))
        scores = self._scores(best, n)
        hits = int((scores.argmax(axis=1) == self._targets + self._offset).sum())
        if not self._above_chance(hits, scores.shape[1]):
            return self._nothing(
                f"none of {self._tried} ways to prepare {n} images answers better than guessing ({hits} right at "
                "best): the labels' numbering, the order of the classes or the weights are wrong, or no such way was "
                "tried; labels that are sure, or the publisher's own script, would settle it"
            )
        against = self._once({one: evidence(each, ran[best]) for one, each in ran.items()})
        shares, most = weights(against), limit(len(against), n)
        told = {one: share for one, share in shares.items() if against[one] <= most}
        likeliest, kind, alike = next(iter(told)), kind_of(scores), self._alike(told)
        return Found(
            likeliest, _sentence(told, n, kind, alike), n, self._asked.runs, self._space.steps(likeliest),
            self._offset, told, kind, 100.0 * hits / n, alike,
        )  # fmt: skip

    def _coordinates(self, n: int) -> tuple[Setting, dict[Coordinate, list[Setting]]]:
        """Return the best setting, and of each coordinate those around it that are not certainly worse.

        Each round looks at every value again, first on few images: one that was worse beside another value of another
        coordinate need not be so beside the best.
        """
        best, least = self._space.start, FIRST
        left: dict[Coordinate, list[Setting]] = {}
        for count in (least, n // 2, n, n):
            before = best
            for name in COORDINATES:
                around = self._within_reach(self._space.along(name, best), least)
                self._settle_offset(around, least)
                closer = self._within_reach(self._not_worse(around, least), count)
                if not closer:
                    return best, left
                left[name] = self._not_worse(closer, count)
                best = left[name][0]
            if count == n and best == before:
                break
        return best, left

    def _not_worse(self, settings: Sequence[Setting], count: int) -> list[Setting]:
        """Return the settings that are not certainly worse than the best of them, the best first."""
        lost = {one: self._loss(one, count) for one in settings}
        order = sorted(lost, key=lambda one: float(lost[one].mean()))
        return [one for one in order if evidence(lost[one], lost[order[0]]) <= CERTAIN]

    def _within_reach(self, settings: Sequence[Setting], count: int) -> list[Setting]:
        """Return those of the settings that the model may still be run on, and afterwards on all images twice."""
        reach, taken = MAX_RUNS - self._asked.runs - 2 * len(self._targets), list[Setting]()
        for one in settings:
            missing = self._asked.missing(one, count)
            if not missing or missing <= reach:
                reach -= missing
                taken.append(one)
        return taken

    def _combined(self, centre: Setting, left: Mapping[Coordinate, list[Setting]]) -> dict[Setting, Floats]:
        """Return the losses of what is left in combination: run where it is likely, else added up from the parts."""
        n = len(self._targets)
        base = self._loss(centre, n)
        parts = [self._within_reach([moved(centre, name, one) for one in left[name]], n) for name in COORDINATES]
        found: dict[Setting, Floats] = {}
        for pixel, geometry, interpolation in product(*parts):
            one = replace(pixel, geometry=geometry.geometry, interpolation=interpolation.interpolation)
            found[one] = added([self._loss(part, n) for part in (pixel, geometry, interpolation)], base)
        likely = credible(weights({one: evidence(each, base) for one, each in found.items()}), RUN)
        return found | {one: self._loss(one, n) for one in self._within_reach(likely, n)}

    def _scores(self, setting: Setting, count: int) -> Array:
        return self._asked.scores(setting, count, self._bar.advance)

    def _loss(self, setting: Setting, count: int, offset: int | None = None) -> Floats:
        offset = self._offset if offset is None else offset
        key = setting, offset, count
        if key not in self._losses:
            logits = logits_of(self._scores(setting, count), self._kind)
            self._losses[key] = information(logits, self._targets[:count] + offset).losses
        return self._losses[key]

    def _settle_offset(self, settings: Sequence[Setting], count: int) -> None:
        """Take the offset of the labels under which the best setting loses less."""
        least = {
            offset: min(float(self._loss(one, count, offset).mean()) for one in settings) for offset in self._offsets
        }
        self._offset = min(least, key=lambda offset: (least[offset], offset))

    def _once(self, against: Mapping[Setting, float]) -> dict[Setting, float]:
        """Return the settings, each input once: of those that give bit-equal ones the most usual stands for all."""
        kept: dict[object, Setting] = {}
        for one in weights(against):
            kept.setdefault(self._asked.digest(one, len(self._targets)) or one, one)
        return {one: against[one] for one in kept.values()}

    def _alike(self, settings: Iterable[Setting]) -> float:
        """Return the percentage of images for which all of these that were run on all of them name one class."""
        n = len(self._targets)
        whole = [one for one in settings if not self._asked.missing(one, n)]
        named = np.array([self._scores(one, n).argmax(axis=1) for one in whole])
        return 100.0 * float((named == named[:1]).all(axis=0).mean()) if whole else 0.0

    @property
    def _tried(self) -> int:
        return len({(setting, offset) for setting, offset, _ in self._losses})

    def _above_chance(self, hits: int, classes: int) -> bool:
        n = len(self._targets)
        share = max(Counter(self._targets.tolist()).values()) / n
        return at_least(hits, n, max(share, 1.0 / classes)) * self._tried < SIGNIFICANCE

    def _nothing(self, why: str) -> Found:
        return Found(None, f"the preprocessing cannot be told: {why}", len(self._targets), self._asked.runs)


def by_coordinate(told: Mapping[Setting, float]) -> dict[Coordinate, dict[str, float]]:
    """Return the values that settings have in each coordinate with their weights, those of the first setting first."""
    found: dict[Coordinate, dict[str, float]] = {}
    for name in COORDINATES if told else ():
        sums = defaultdict[str, float](float)
        for setting, share in told.items():
            sums[" ".join(value_of(name, setting))] += share
        first, *others = sums.items()
        found[name] = dict([first, *sorted(others, key=lambda each: -each[1])])
    return found


def _sentence(told: Mapping[Setting, float], images: int, kind: Kind, alike: float) -> str:
    """Say what was found and what else it may be, each value with its weight."""
    parts = [
        " or ".join(f"{value} ({_percent(share)})" for value, share in shares.items())
        for shares in by_coordinate(told).values()
    ]
    said = f"found on {images} labelled images: {'; '.join(parts)}"
    if len(told) > 1:
        said += (
            f"; {len(told)} ways cannot be told apart for certain; they name one class for {alike:.0f} % of the images"
        )
    if kind is Kind.TWICE:
        said += "; the scores are softmaxed twice"
    if not opencv_is_there():
        said += f"; {OPENCV_UNTRIED}"
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "under 1 %"
