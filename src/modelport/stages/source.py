"""The model's road: recipe → checkpoint → export → what the engine opens, each stage from the cache where it can."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, cache_folder, digest_file, digest_json
from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.core.records import read_record, write_record
from modelport.core.values import Check
from modelport.engines.base import Engine
from modelport.engines.registry import defaults, get_engine, model_artifact
from modelport.engines.source import Source, source_from_checkpoint
from modelport.model.graph import file as graph
from modelport.model.graph.export import check_graph
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.model.source import SourceModel
from modelport.model.weights.fetch import FetchedWeights, fetch_weights
from modelport.recipes.schema import Recipe
from modelport.stages.export import export_cached, outputs_match, pixels_cached
from modelport.verdict import rules as verdict


@dataclass(slots=True)
class Road:
    """What has been gathered on the way."""

    source: Source | None = None
    model: Artifact | None = None
    artifacts: list[Artifact] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quantization: dict[str, Any] | None = None  # how the model became int8


@dataclass(frozen=True, slots=True)
class Given:
    """What the user has of the model: weights, a model file, both or, where the recipe can fetch them, neither."""

    weights: Path | None = None
    model: Path | None = None
    pixels: bool = False  # the graph is to take uint8 pixels and normalise by itself


def walk(given: Given, recipe: Recipe, engine: Engine, progress: Progress) -> Road:
    """Walk as far as the engine needs it. Raises ModelportError for whatever the user can mend."""
    road = Road()
    if given.model is None or given.weights is not None:
        path, said = weights_file(recipe, given.weights, progress)
        road.source = source_from_checkpoint(recipe, path)
        road.notes += said if road.source.network is None else [*said, *_notes_of(road.source.network)]
        road.artifacts.append(road.source.artifact)
    if given.model is not None:
        _take_given_model(road, given, recipe, engine)
    elif "checkpoint" in engine.consumes:
        assert road.source is not None
        if given.pixels:
            raise UsageError(
                f"--input-type uint8: '{engine.name}' runs the checkpoint, and nothing is exported", "leave it out"
            )
        road.model = road.source.artifact
        road.notes.append("the engine runs the checkpoint itself: nothing was exported")
    else:
        assert road.source is not None
        road.model, checks = export_cached(road.source.exportable, progress)
        road.artifacts.append(road.model)
        road.checks += checks
        if given.pixels:
            road.model, check = pixels_cached(road.model, recipe)
            road.artifacts.append(road.model)
            road.checks.append(check)
    return road


def fetched_weights(recipe: Recipe, progress: Progress) -> FetchedWeights:
    """Return the recipe's own weights from the cache, fetched with a bar where they are missing. Raises FetchError."""
    with progress.bar(f"fetching {recipe.weights.file}", None, "bytes") as bar:
        reached = 0

        def advanced(done: int, total: int | None) -> None:
            nonlocal reached
            bar.advance(done - reached)
            reached = done

        return fetch_weights(recipe, progress=advanced)


def weights_file(recipe: Recipe, given: Path | None, progress: Progress) -> tuple[Path, list[str]]:
    """Return the weights given, or the recipe's from the cache (fetched where missing), and what is to be said."""
    if given is not None:
        return given, _held_against_recipe(recipe, given)
    fetched = fetched_weights(recipe, progress)
    return fetched.path, [f"weights {fetched.path.name}: {fetched.verified}"]


def _held_against_recipe(recipe: Recipe, weights: Path) -> list[str]:
    """Return whether the user's file is the one whose sha256 the recipe states, where it states one."""
    stated = recipe.weights.sha256
    try:
        found = digest_file(weights) if stated else None
    except OSError:
        return []  # reading it says what is wrong
    if found is None:
        return []
    if found == stated:
        return [f"weights {weights.name}: the sha256 is the recipe's"]
    return [
        f"weights {weights.name}: not the file that the recipe {recipe.name} states (sha256 {found}, the recipe's "
        f"{stated}): the published figures may not be its own"
    ]


def _notes_of(source: SourceModel) -> list[str]:
    """Return what was tolerated while loading, remembered from the last time that this code loaded these weights."""
    code = [digest_file(part) for part in sorted(Path(graph.__file__).parent.glob("*.py"))]
    key = digest_json([source.checkpoint.sha256, source.recipe.digest, code])
    record = cache_folder("sources") / f"{key[:32]}.json"
    known = read_record(record)
    if known is None or not isinstance(known.get("notes"), list):
        known = {"sha256": source.checkpoint.sha256, "notes": list(source.notes)}
        write_record(record, known)
    return [str(note) for note in known["notes"]]


def _take_given_model(road: Road, given: Given, recipe: Recipe, engine: Engine) -> None:
    """Take a model file in place of an export; with weights at hand, prove that it was made from them."""
    assert given.model is not None
    path = given.model
    road.model = model_artifact(path)
    if road.model.kind not in engine.consumes:
        raise UsageError(
            f"{path}: the engine '{engine.name}' does not run such files",
            f"choose --engine {' or '.join(able.name for able in defaults() if road.model.kind in able.consumes)}",
        )
    road.artifacts.append(road.model)
    if road.model.kind == "onnx":
        model = graph.read_graph(path)
        graph.check_signature(model, (recipe_of_pixels(recipe) if given.pixels else recipe).signature, path)
        road.checks.append(
            Check("signature", verdict.PASS, "as the recipe's", "as the recipe's", "names, dtypes and shapes")
        )
        if road.source is not None:
            if given.pixels:
                raise UsageError(
                    f"{path}: a graph that takes pixels is not held against weights", "leave --weights out"
                )
            fixed = graph.signature_of(model).inputs[0].shape[0]
            batch = fixed if isinstance(fixed, int) else None
            road.checks += check_graph(road.source.exportable, path, None, batch)
            sizes = (batch,) if batch else (1, 3)
            road.checks.append(outputs_match(road.source.exportable, road.model, get_engine(engine.name), sizes))
    if road.source is None:
        road.notes.append("a model file was given in place of weights: there is no source model to hold it against")
