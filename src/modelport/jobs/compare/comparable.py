"""Whether two results answer the same question, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelport.core.errors import UsageError
from modelport.core.text import plain, some
from modelport.engines.registry import ENGINES
from modelport.jobs.compare.reading import Read
from modelport.recipes.schema import Recipe

FIX = "compare results of one recipe and variant on the same kind of data"
# What a recipe says beside what is asked of a model: words, addresses, published figures, how fast it is to run. Its
# network and checkpoint are compared as engines are: they give the answers, and are no part of the question.
ANSWERS = {"model", "checkpoint", "weights"}
BESIDE = {"run", "title", "links", "published", "speeds", "guide", "guide_files", "variants", "metrics", "tolerance"}
# Of a result, what a reader of two wants to know; what lies in a table is named by its place.
KEYS = (
    *("recipe_sha256", "engine", "precision", "batch", "seed", "input_type", "runs_in_flight.value", "skipped"),
    *("dataset.name", "dataset.n", "dataset.fingerprint", "source.kind", "source.sha256", "statistics.rule"),
    *("environment.python", "environment.platform", "environment.processor", "environment.cores"),
)
# What computes figures, and so may change them by itself.
MEASURES = {"modelport": "the figures", "faster-coco-eval": "mAP and AR"}
MANY = 200


def refuse(first: Read, other: Read) -> None:
    """Raise UsageError, naming the key, where the two do not answer the same question."""
    pair = f"{first.name} and {other.name}"
    for key in ("recipe", "variant"):
        mine, theirs = first.at(key), other.at(key)
        if mine != theirs:
            raise UsageError(f"{pair} are not comparable: {key} is {_shown(mine)} and {_shown(theirs)}", FIX)
    if first.labels != other.labels:
        blind = other if first.labels else first
        told = f"dataset.labels: {blind.name} looked at none (--predict)"
        raise UsageError(f"{pair} are not comparable: {told}", FIX)
    changed = changed_keys(first, other)
    if changed is None:
        told = "recipe_sha256 differs, and there is no recipe.toml in both folders to tell in what"
        raise UsageError(f"{pair} are not comparable: {told}", FIX)
    asked = [key for key in changed if key.partition(".")[0] not in ANSWERS | BESIDE | ENGINES.keys()]
    if asked:
        raise UsageError(f"{pair} are not comparable: the recipes differ in {some(asked)}", FIX)
    _refuse_other_labels(first, other)


def _refuse_other_labels(first: Read, other: Read) -> None:
    if first.samples is None or other.samples is None:
        return
    changed = [
        name
        for (name, digest), row in first.samples.place.items()
        if (there := other.samples.place.get((name, digest))) is not None
        and first.samples.targets[row] != other.samples.targets[there]
    ]
    if changed:
        pair = f"{first.name} and {other.name} are not comparable"
        named = some(plain(name, 60) for name in changed)
        raise UsageError(f"{pair}: the same samples have other labels: {named}", "run both with the same labels")


def changed_keys(first: Read, other: Read) -> list[str] | None:
    """Return the keys in which the recipes differ, ``table.key``; None where that cannot be told."""
    if first.at("recipe_sha256") == other.at("recipe_sha256"):
        return []
    if first.recipe is None or other.recipe is None:
        return None
    return list(_changed(_content(first.recipe), _content(other.recipe), ""))


def _content(recipe: Recipe) -> dict[str, Any]:
    return {key: value for key, value in recipe.to_json().items() if key != "schema"}


def _changed(one: Any, other: Any, place: str) -> Iterable[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from _changed(one.get(key), other.get(key), f"{place}.{key}" if place else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for row, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _changed(mine, theirs, f"{place}[{row}]")
    elif one != other:
        yield place


def differences(results: Sequence[Read]) -> dict[str, list[Any]]:
    """Return what is not the same in all results: {key: its value in each}."""
    told = [_told(result) for result in results]
    keys = list(dict.fromkeys(key for one in told for key in one))[:MANY]
    found = {key: [one.get(key) for one in told] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _told(result: Read) -> dict[str, Any]:
    told = {key: _scalar(result.at(*key.split("."))) for key in KEYS}
    packages, artifacts = result.at("environment", "packages"), result.at("artifacts")
    if isinstance(packages, Mapping):
        told |= {f"environment.packages.{plain(name, 60)}": _scalar(value) for name, value in packages.items()}
    for artifact in artifacts if isinstance(artifacts, list) else ():
        if isinstance(artifact, Mapping):
            told[f"artifacts.{plain(artifact.get('kind'), 60)}.sha256"] = _scalar(artifact.get("sha256"))
    return told


def measure_notes(differs: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what is to be said where what computes figures is of several versions."""
    found = []
    for package, figures in MEASURES.items():
        versions = differs.get(f"environment.packages.{package}")
        if versions:
            told = " and ".join(dict.fromkeys(map(_shown, versions)))
            found.append(f"{figures} were computed by {package} {told}: a change may be the measure's")
    return found


def _scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else plain(value, MANY)


def _shown(value: Any) -> str:
    return "none" if value is None else plain(value, 80)
