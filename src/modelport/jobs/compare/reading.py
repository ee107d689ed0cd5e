"""A result that is compared: what its file tells, the recipe that ran, and what each sample earned.

It may come from anybody: every file is bounded, and what is not as modelport writes it is one error that names it.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from pydantic import ValidationError

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import DataError
from modelport.core.files import read_json
from modelport.core.text import plain
from modelport.evaluate.sample_log import SAMPLES
from modelport.recipes.load import load_recipe, recipe_names
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.report.result import SCHEMA
from modelport.report.result_folder import PREDICTIONS, RECIPE, RESULT, ResultFolder
from modelport.tasks.judged import Floats
from modelport.tasks.scoring import SOURCE_AGREEMENT

FIX = "give the folder that `run --out` wrote, or its result.json"
AS_IT_WAS = "take the folder as it was"
# Samples are more than any data set has. Figures of one result, those in percent (all samples of these are held in
# memory), and letters of a figure's name.
MAX_SAMPLES, MAX_FIGURES, MAX_SHARES, MAX_NAME = 2_000_000, 1000, 50, 200
# What a comparison needs of a result, and of which kind it is.
FORM: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("recipe", "recipe_sha256", "started", "verdict"), (str,)),
    **dict.fromkeys(("variant", "engine", "precision"), (str, type(None))),
    **dict.fromkeys(("metrics", "dataset", "environment", "throughput", "latency_ms", "source"), (dict,)),
    **dict.fromkeys(("checks", "published"), (list,)),
    **dict.fromkeys(("n", "batch"), (int, type(None))),
}
# Letters of a label that is kept as it is.
MAX_TARGET = 64
# A figure is the mean of its samples to this many points.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a result, in its unit."""

    value: float
    unit: str
    n: int
    stderr: float | None
    rise_is_loss: bool

    @property
    def hits(self) -> int | None:
        """How many of ``n`` are right, where that is told by value and standard error; else None."""
        share = self.value / 100.0
        if self.unit != "percent" or self.stderr is None or not 0.0 <= share <= 1.0:
            return None
        if not 1 <= self.n <= MAX_SAMPLES:  # the tails of a binomial are summed over as many
            return None
        binomial = 100.0 * math.sqrt(share * (1.0 - share) / self.n)
        hits = round(share * self.n)
        return hits if abs(binomial - self.stderr) <= ROUNDING and abs(hits - share * self.n) <= 1e-4 else None


@dataclass(frozen=True, slots=True)
class Samples:
    """The scored samples: which they are, and what they earn by figure, from 0 (wrong) to 1 (right)."""

    place: Mapping[tuple[str, str], int]  # (id, sha256 of the content) → row
    targets: tuple[str, ...]  # by row, the label as JSON; of a long one its digest, "sha256:…"
    weighted: bool  # some were drawn more often than others: the figures are no plain means
    values: Mapping[str, Floats]  # by figure (N,); where not weighted, of figures that are the mean of all of them


@dataclass(frozen=True, slots=True)
class Read:
    """A result, as far as it is compared."""

    name: str  # as the user gave it
    value: Mapping[str, Any]
    figures: Mapping[str, Figure]
    recipe: Recipe | None
    samples: Samples | None
    without: str = ""  # why there are no samples
    answers: str | None = None  # sha256 of predictions.jsonl, where it lies there

    def at(self, *keys: str) -> Any:
        """Return what lies at these keys, one within the other; None where one is missing."""
        here: Any = self.value
        for key in keys:
            here = here.get(key) if isinstance(here, Mapping) else None
        return here

    @property
    def labels(self) -> bool:
        """Whether labels were looked at."""
        return self.at("dataset", "labels") is None

    @property
    def deciding(self) -> tuple[str, ...]:
        """The figures that the result itself was judged by; without labels that is the agreement with the source."""
        names = [str(row.get("name")) for row in self.value["checks"] if isinstance(row, Mapping)]
        judged = [name.removesuffix("_vs_source") for name in names if name.endswith("_vs_source")]
        found = tuple(name for name in dict.fromkeys(judged) if name in self.figures)
        return found or (() if self.labels or SOURCE_AGREEMENT not in self.figures else (SOURCE_AGREEMENT,))

    def counts_right(self, metric: str) -> bool:
        """Whether the result tells that a figure counts right answers, one a sample: not every percentage does."""
        told = self.samples is not None and metric in self.samples.values
        # Where the samples do not tell the agreement one by one, it counts parts of answers.
        return told or (metric == SOURCE_AGREEMENT and self.samples is None) or self.at("paired", metric) is not None

    @property
    def tolerance(self) -> tuple[Tolerance, str] | None:
        """What may be lost, and who says so: the recipe that ran, else the result's own verdict; None where neither."""
        if self.recipe is not None:
            return self.recipe.tolerance, "recipe"
        try:
            return Tolerance.model_validate(self.at("statistics", "tolerance")), "result"
        except ValidationError:
            return None

    def is_full_set(self, metric: str) -> bool:
        """Whether these are all the samples that a published figure of this metric was measured on."""
        published = [row for row in self.value["published"] if isinstance(row, Mapping)]
        return any(row.get("metric") == metric and row.get("applies") is True for row in published)


def read_result(given: Path) -> Read:
    """Read a result folder, its result.json, or such a file alone. Raises ModelportError, naming the file."""
    folder = ResultFolder(given if given.is_dir() else given.parent) if given.is_dir() or given.name == RESULT else None
    place = given if folder is None else folder.path / RESULT
    value = read_json(given, error=DataError, fix=FIX) if folder is None else folder.value()
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise DataError(f"{place}: is of another schema than {SCHEMA}", FIX)
    _check_form(place, value)
    figures = _figures(place, value["metrics"])
    recipe = _recipe(folder, value)
    told = folder is not None and _is_own(folder, SAMPLES, value)
    samples = _samples(folder, figures) if folder is not None and told else None
    why = "" if told else f"no {SAMPLES} of its own lies beside {plain(place, 200)}"
    answers = value["companions"][PREDICTIONS] if folder is not None and _is_own(folder, PREDICTIONS, value) else None
    return Read(plain(given, 300), value, figures, recipe, samples, why, answers)


def _is_own(folder: ResultFolder, name: str, value: Mapping[str, Any]) -> bool:
    """Whether a file lies beside the result that names it. Raises DataError where its sha256 is not that one."""
    companions = value.get("companions")
    wanted = companions.get(name) if isinstance(companions, dict) else None
    if wanted is None or not folder.has(name):
        return False
    if folder.digest(name) != wanted:
        raise DataError(f"{folder.path / name}: is not the one that {RESULT} names: another sha256", AS_IT_WAS)
    return True


def _check_form(place: Path, value: Mapping[str, Any]) -> None:
    """Raise DataError where what a comparison needs is not there, or of another kind."""
    for key, kind in FORM.items():
        if key not in value or not isinstance(value[key], kind):
            raise DataError(f"{place}: {key}: {'is missing' if key not in value else 'is of another kind'}", FIX)
    if not isinstance(value["dataset"].get("fingerprint"), str):
        raise DataError(f"{place}: dataset.fingerprint: is no text", FIX)


def _figures(place: Path, scores: Mapping[str, Any]) -> dict[str, Figure]:
    if len(scores) > MAX_FIGURES:
        raise DataError(f"{place}: metrics: {len(scores)} figures, more than {MAX_FIGURES}", FIX)
    found = {}
    for name, score in scores.items():
        where = f"{place}: metrics.{plain(name, 40)}"
        if not 0 < len(name) <= MAX_NAME or plain(name) != name or not isinstance(score, dict):
            raise DataError(f"{where}: is no figure", FIX)
        value, n, stderr = score.get("value"), score.get("n"), score.get("stderr")
        if not is_number(value) or type(n) is not int or not (stderr is None or is_number(stderr)):
            raise DataError(f"{where}: value, n or stderr is no number", FIX)
        unit, rises = score.get("unit"), score.get("rise_is_loss", False)
        if not isinstance(unit, str) or not isinstance(rises, bool):
            raise DataError(f"{where}: unit or rise_is_loss is of another kind", FIX)
        found[name] = Figure(float(value), plain(unit, 40), n, stderr, rises)
    if sum(figure.unit == "percent" for figure in found.values()) > MAX_SHARES:
        raise DataError(f"{place}: metrics: more than {MAX_SHARES} figures in percent", FIX)
    return found


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON is a number, and one to reckon with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _recipe(folder: ResultFolder | None, value: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe that ran: the folder's, else one of modelport's own with the same digest, else None."""
    if folder is not None and _is_own(folder, RECIPE, value):
        return folder.recipe()
    name, variant = value["recipe"], value["variant"]
    own = load_recipe(name) if name in recipe_names() else None
    if own is not None and variant is not None:
        own = own.with_variant(variant) if variant in own.variants else None
    return own if own is not None and own.digest == value["recipe_sha256"] else None


def _samples(folder: ResultFolder, figures: Mapping[str, Figure]) -> Samples:
    """Return the samples beside the result. Raises DataError for lines that are not as modelport writes them."""
    path = folder.path / SAMPLES
    places, targets, weighted = dict[tuple[str, str], int](), list[str](), False
    earned = {name: array("d") for name, figure in figures.items() if figure.unit == "percent"}
    for number, line in enumerate(folder.lines(SAMPLES), 1):
        where = f"{path} line {number}"
        name, digest = line.get("id"), line.get("sha256")
        if not (isinstance(name, str) and isinstance(digest, str)):
            raise DataError(f"{where}: id or sha256 is no text", FIX)
        if places.setdefault((name, digest), len(targets)) != len(targets):
            raise DataError(f"{where}: the sample {plain(name, 60)} comes twice", FIX)
        if number > MAX_SAMPLES:
            raise DataError(f"{where}: more than {MAX_SAMPLES} samples", FIX)
        targets.append(_short(line.get("target")))
        weighted = weighted or line.get("weight", 1.0) != 1.0
        for figure, column in earned.items():
            column.append(_earned(line, figure, where))
    columns = {name: np.array(column, np.float64) for name, column in earned.items()}
    told = {name: column for name, column in columns.items() if len(column) and np.isfinite(column).all()}
    return Samples(places, tuple(targets), weighted, told if weighted else _means(path, told, figures))


def _short(target: Any) -> str:
    text = json.dumps(target, sort_keys=True)
    return text if len(text) <= MAX_TARGET else f"sha256:{digest_bytes(text.encode())}"


def _earned(line: Mapping[str, Any], name: str, where: str) -> float:
    """Return what the engine's answer earns by a figure; NaN where the line does not tell."""
    values = line.get("values")
    pair = values.get(name) if isinstance(values, dict) else None
    found = pair[0] if isinstance(pair, list) and pair else line.get("agrees") if name == SOURCE_AGREEMENT else None
    if found is None:
        return math.nan
    number = float(found) if isinstance(found, bool) or is_number(found) else -1.0
    if not 0.0 <= number <= 1.0:
        raise DataError(f"{where}: {plain(name, 40)}: is no number from 0 to 1", FIX)
    return number


def _means(path: Path, earned: Mapping[str, Floats], figures: Mapping[str, Figure]) -> dict[str, Floats]:
    """Return the values of the figures that are their mean. Raises DataError where they are another figure's."""
    found = {}
    for name, column in earned.items():
        mean, figure = 100.0 * float(column.mean()), figures[name]
        if abs(mean - figure.value) <= ROUNDING:
            found[name] = column
        elif name != SOURCE_AGREEMENT:  # of a detector it counts boxes, and images agree or not
            told = f"{path}: {plain(name, 40)} of its samples is {mean:.6g}, the result says {figure.value:.6g}"
            raise DataError(told, AS_IT_WAS)
    return found
