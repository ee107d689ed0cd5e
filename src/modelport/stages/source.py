"""The first stage: what defines the right answer, from the user's weights or the recipe's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from modelport.core.artifacts import Artifact, cache_folder, digest_file, digest_json, read_record, write_record
from modelport.core.progress import Progress
from modelport.engines.source import Source, source_from_checkpoint, source_from_module
from modelport.model.architectures.own import is_own
from modelport.model.graph.file import read_graph
from modelport.model.graph.weights import findings_of_graph
from modelport.model.source import SourceModel
from modelport.model.weights import file as weights_code
from modelport.model.weights.fetch import FetchedWeights, fetch_weights
from modelport.model.weights.health import findings_of_module, notes_of
from modelport.recipes.schema import Recipe


def source_of(recipe: Recipe, weights: Path | None, progress: Progress) -> Source:
    """Return the source, with what is to be said of it; ``weights`` None: the recipe's own, fetched.

    A network of the user's own that has none is taken as its function returns it.
    Raises ModelportError for whatever the user can mend.
    """
    if weights is None and recipe.weights is None and is_own(recipe.network.architecture):
        return with_health(source_from_module(recipe))
    found = found_weights(recipe, weights, progress)
    source = with_health(source_from_checkpoint(recipe, found.path, found.sha256))
    return replace(source, notes=(*found.notes, *source.notes))


def with_health(source: Source) -> Source:
    """Return a source with what was tolerated while loading it, and what is certain of its weights, among its notes.

    Raises CheckpointError where a checkpoint does not fit.
    """
    if source.network is not None:
        return replace(source, notes=(*source.notes, *_notes_of(source.network)))
    return replace(source, notes=(*source.notes, *file_health(source.artifact))) if source.kind == "onnx" else source


def file_health(model: Artifact) -> list[str]:
    """Return what is certain of an ONNX file's weights, remembered by its identity. Raises GraphError."""
    return _remembered(model.identity, lambda: notes_of(findings_of_graph(read_graph(model.path))))


def fetched_weights(recipe: Recipe, progress: Progress) -> FetchedWeights:
    """Return the recipe's own weights from the cache, fetched with a bar where they are missing. Raises FetchError."""
    with progress.bar(f"fetching {recipe.published_weights.file}", None, "bytes") as bar:
        reached = 0

        def advanced(done: int, total: int | None) -> None:
            nonlocal reached
            bar.advance(done - reached)
            reached = done

        return fetch_weights(recipe, progress=advanced)


class Weights(NamedTuple):
    """A file of weights, what is to be said of it, and its digest where that was taken on the way."""

    path: Path
    notes: list[str]
    sha256: str | None = None


def found_weights(recipe: Recipe, given: Path | None, progress: Progress) -> Weights:
    """Return the weights given, or the recipe's from the cache, fetched where missing. Raises FetchError."""
    if given is not None:
        return _held_against_recipe(recipe, given)
    fetched = fetched_weights(recipe, progress)
    return Weights(fetched.path, [f"weights {fetched.path.name}: {fetched.verified}"], fetched.sha256)


def weights_file(recipe: Recipe, given: Path | None, progress: Progress) -> tuple[Path, list[str]]:
    """Return where the weights lie, and what is to be said of them."""
    found = found_weights(recipe, given, progress)
    return found.path, found.notes


def _held_against_recipe(recipe: Recipe, weights: Path) -> Weights:
    """Return whether the user's file is the one whose sha256 the recipe states, where it states one."""
    stated = recipe.weights.sha256 if recipe.weights else None
    try:
        found = digest_file(weights) if stated else None
    except OSError:
        found = None  # reading it says what is wrong
    if found is None:
        return Weights(weights, [])
    said = f"weights {weights.name}: the sha256 is the recipe's"
    if found != stated:
        said = (
            f"weights {weights.name}: not the file that the recipe {recipe.name} states (sha256 {found}, the recipe's "
            f"{stated}): the published figures may not be its own"
        )
    return Weights(weights, [said], found)


def _notes_of(source: SourceModel) -> list[str]:
    """Return what was tolerated while loading, and what is certain of the weights."""
    return _remembered(
        digest_json([source.identity, source.recipe.digest]),
        lambda: [*source.notes, *notes_of(findings_of_module(source.module))],
    )


def _remembered(key: str, noted: Callable[[], list[str]]) -> list[str]:
    """Return notes from the last time that this code looked at the same content, else look."""
    code = [digest_file(part) for part in sorted(Path(weights_code.__file__).parents[1].rglob("*.py"))]
    record = cache_folder("sources") / f"{digest_json([key, code])[:32]}.json"
    known = read_record(record)
    if known is None or not isinstance(known.get("notes"), list):
        known = {"notes": noted()}
        write_record(record, known)
    return [str(note) for note in known["notes"]]
