"""The model that is probed, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.diagnose.probe.trials import Opening
from modelport.engines.base import Build, Launch, Runner
from modelport.engines.registry import engine_for, model_artifact, opened, reference_engine
from modelport.engines.source import Source, source_from_file
from modelport.recipes.schema import Recipe
from modelport.stages.plan import Given
from modelport.stages.source import source_of


@dataclass(frozen=True, slots=True)
class Subject:
    """What answers, how it is opened, and what else answers rightly."""

    artifact: Artifact
    engine: str
    batch: int
    opening: Opening
    source: Source | None = None  # another model that is known to be right; None: the model is its own source
    weights: Path | None = None  # the checkpoint that is probed, where it is one
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(recipe: Recipe, given: Given, engine: str | None, progress: Progress) -> Subject:
        """Return what the files name: a model file with a source beside it, or a source alone.

        A source runs as it defines the right answer, an ONNX file on the reference runtime where no ``engine`` is
        named. Raises UsageError for an engine beside a source alone, ModelportError for files that are none.
        """
        batch = given.fixed_batch or recipe.run.batch
        if given.model is not None:
            return _of_model(recipe, given.model, batch, engine, _beside(recipe, given, progress))
        if engine is not None:
            raise UsageError(
                f"--engine {engine}: a source runs as it defines the right answer", "give it with --model FILE"
            )
        source = _source(recipe, given, progress)

        @contextmanager
        def opening(changed: Recipe) -> Iterator[Runner]:
            other = source if changed.checkpoint == recipe.checkpoint else _source(changed, given, progress)
            with other.open(Build(changed, "fp32", batch)) as runner:
                yield runner

        weights = source.artifact.path if source.kind == "checkpoint" else None
        batch = source.batch or batch
        return Subject(source.artifact, source.engine.name, batch, opening, None, weights, source.notes)


def _of_model(recipe: Recipe, path: Path, batch: int, named: str | None, source: Source | None) -> Subject:
    model = model_artifact(path)
    engine = reference_engine() if named is None and model.kind == "onnx" else engine_for(model, named)
    if source is not None and source.batch not in (None, batch):
        raise UsageError(
            f"{path} is run in batches of {batch}, the source takes {source.batch} alone", "give a source of any batch"
        )

    @contextmanager
    def opening(changed: Recipe) -> Iterator[Runner]:
        with opened(engine, model, Build(changed, None, batch), Launch(plain=True)) as runner:
            yield runner

    return Subject(model, engine.name, batch, opening, source)


def _beside(recipe: Recipe, given: Given, progress: Progress) -> Source | None:
    """Return the source that was given beside a model file, None where there is none."""
    alone = given.weights is None and not isinstance(given.source, Path)
    return None if alone else _source(recipe, given, progress)


def _source(recipe: Recipe, given: Given, progress: Progress) -> Source:
    if isinstance(given.source, Path):
        return source_from_file(recipe, given.source)
    if given.source is not None:
        raise UsageError("--source none: there would be nothing to probe", "give --weights, --source or --model")
    return source_of(recipe, given.weights, progress)
