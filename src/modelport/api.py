"""The Python interface: the verbs' own steps, without the files. Every name here is also ``modelport.NAME``."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from modelport.core.artifacts import Artifact
from modelport.core.options import CONFIDENCE, MAX_SKIPPED
from modelport.core.output_folder import drop_old_result
from modelport.core.progress import Progress, Silent
from modelport.core.trust import trust_code
from modelport.core.values import Batch, DataSet, Sample
from modelport.data.sets import table as data_sets
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import engine_for, model_artifact, opened, reference_engine
from modelport.engines.source import Source, source_from_file
from modelport.evaluate.answer import Outcome, Pass, live_rows, warmed_up
from modelport.evaluate.held_rows import HeldRows, KeptRows
from modelport.evaluate.score import Scoring, score
from modelport.evaluate.store import stack_rows
from modelport.jobs.run import origin_of, speed_of, written
from modelport.jobs.verify import verify as hold_folder
from modelport.model.architectures import build_random
from modelport.model.samples.fit import save_as_published
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report.assemble import Origin, assemble
from modelport.report.result import NOTHING_RAN, Result, SourceOrigin
from modelport.report.result_folder import BESIDE, PREDICTIONS, RESULT
from modelport.stages.plan import Given, Plan, Wish
from modelport.stages.port import Ported, ported
from modelport.stages.source import source_of
from modelport.tasks.scoring import Rows
from modelport.tasks.table import task_of
from modelport.verdict.rules import is_full_set
from modelport.verdict.settings import Judging

__all__ = [
    "Answers",
    "Model",
    "answer",
    "batches",
    "build",
    "export",
    "judge",
    "load_recipe",
    "open_dataset",
    "open_model",
    "random_weights",
    "source",
    "trust_code",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Model:
    """A model on its way, as the last step left it: a graph after ``export``, what an engine loads after ``build``."""

    plan: Plan
    port: Ported

    @property
    def path(self) -> Path:
        """The file."""
        return self.port.trail.model.path

    @property
    def notes(self) -> list[str]:
        """What is to be said of how it was made."""
        return self.port.trail.notes

    @property
    def how(self) -> tuple[Engine, Artifact, Build, Launch]:
        """What opens it: engine, file, form and launch, as ``modelport.measure`` takes them."""
        return self.plan.engine, self.port.trail.model, self.plan.build, self.plan.launch

    @contextmanager
    def open(self) -> Iterator[Runner]:
        """Load it: ``runner.run({name: array})`` answers. Raises EngineError."""
        with opened(*self.how) as runner:
            yield runner


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered to the samples of a data set, in their order."""

    rows: HeldRows  # in memory, or in the folder that was named
    outcome: Outcome
    model: Model | None  # None: the source
    job: Pass = field(repr=False)
    source: Source | None = None  # where it answered


def source(
    recipe: Recipe,
    weights: str | Path | None = None,
    *,
    file: str | Path | None = None,
    progress: Progress | None = None,
) -> Source:
    """Return what defines the right answer: the recipe's network with a checkpoint, its own one where none is given.

    ``file`` is a model that runs by itself, .onnx or .pt2, in their place. Raises CheckpointError or GraphError where
    a file is missing; that weights do not fit is said when they are first run or exported, UsageError for both.
    """
    if file is not None:
        Given(None if weights is None else Path(weights), source=Path(file))
        return source_from_file(recipe, Path(file))
    return source_of(recipe, None if weights is None else Path(weights), progress or Silent())


def export(source: Source, progress: Progress | None = None) -> Model:
    """Return the source's graph in ONNX, checked against it, from the cache where it can.

    Raises GraphError where a weight did not arrive or the outputs differ.
    """
    build = Build(source.recipe, "fp32", source.recipe.run.batch)
    plan = Plan(source.recipe, reference_engine(), build)
    return Model(plan, ported(plan, source, (), progress or Silent(), build=False))


def build(
    source: Source,
    engine: str | None = None,
    precision: str | None = None,
    *,
    wish: Wish | None = None,
    calibration: str | Path | None = None,
    held_out: Sequence[Sample] = (),
    progress: Progress | None = None,
) -> Model:
    """Return the source's model as an engine loads it: exported, lowered and compiled as far as it asks for.

    ``wish`` says more (batch, input type, threads, device); ``calibration`` is a folder of images for int8, of which
    none may be among ``held_out``. Raises EngineError for what is not usable here, UsageError for what does not go
    together.
    """
    wanted = _wanted(wish, engine, precision)
    if calibration is not None:
        wanted = replace(wanted, calibration=Path(calibration))
    plan = Plan.of(source.recipe, wanted)
    return Model(plan, ported(plan, source, held_out, progress or Silent()))


@contextmanager
def open_model(
    path: str | Path, engine: str | None = None, precision: str | None = None, *, wish: Wish | None = None
) -> Iterator[Runner]:
    """Load a model file as it is, with its own signature: ``runner.run({name: array})`` answers.

    ``precision`` None: whatever it runs in; of ``wish``, batch, threads, runs in flight and device count. Raises
    UsageError for what is no model file, EngineError where nothing here runs it.
    """
    model, wanted = model_artifact(Path(path)), _wanted(wish, engine, precision)
    build, launch = Build(None, wanted.precision, wanted.batch), Launch(wanted.threads, wanted.in_flight, wanted.device)
    with opened(engine_for(model, wanted.engine), model, build, launch) as runner:
        yield runner


def random_weights(recipe: Recipe, out: str | Path, seed: int = 0) -> Path:
    """Write a checkpoint of random weights in the published wrapping, and return it: speed needs no others.

    Raises RecipeError for a network that is no PyTorch module, OutputError where ``out`` cannot be written.
    """
    return save_as_published(build_random(recipe.network, seed), recipe.checkpoint, Path(out)).path


def open_dataset(recipe: Recipe, folder: str | Path, split: Literal["val", "train"] = "val") -> DataSet:
    """Return the samples in a folder laid out as the recipe's guide shows it. Raises DataError."""
    return data_sets.open_dataset(recipe, Path(folder), split)


def batches(
    recipe: Recipe, data: DataSet | Sequence[Sample], batch: int, *, seed: int = 0, pixels: bool = False
) -> Generator[Batch, None, None]:
    """Yield samples as the recipe's network wants them, ``batch`` rows at a time, made ahead in threads.

    ``inputs`` of each are {name: float32 (batch, C, H, W)}; with ``pixels`` uint8 (batch, H, W, C), not normalised. The
    last one is padded: its ``ids`` tell the rows that count. ``seed`` draws the views. Raises BadSampleError; leave it
    early through ``contextlib.closing``.
    """
    return feed(recipe, data, batch, seed=seed, pixels=pixels)


def answer(
    model: Model | Source,
    data: DataSet | Sequence[Sample],
    *,
    seed: int = 0,
    on_bad_image: Literal["fail", "skip"] = "fail",
    keep: str | Path | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Run a built model, or the source, over samples.

    The answers are held in memory, or, with ``keep``, in a file in that folder, which must outlive them. Raises
    BadSampleError for an image that cannot be read, OutputError where answers are kept in that folder already.
    """
    if isinstance(model, Model):
        built, recipe, form = model, model.plan.recipe, model.plan.build
    else:
        built, recipe = None, model.recipe
        form = Build(recipe, "fp32", recipe.run.batch)
    samples = data[:]
    full = is_full_set(recipe, (sample.id for sample in samples), skipped=0)
    task = task_of(recipe, getattr(data, "categories", ()), seed)
    pixels = built is not None and built.plan.pixels
    job = Pass(recipe, samples, form, task, seed, on_bad_image, progress or Silent(), pixels, full_set=full)
    taken = HeldRows() if keep is None else KeptRows(Path(keep))
    with (
        model.open() if isinstance(model, Model) else model.open(form) as runner,
        job.progress.bar("answering", job.rows, "images") as bar,
    ):
        outcome = warmed_up(job, runner)
        with closing(live_rows(job, runner, None, outcome)) as rows:
            for chunk in taken.take(rows):
                bar.advance(len(chunk.ids))
    return Answers(taken, outcome, built, job, None if isinstance(model, Model) else model)


def judge(
    recipe: Recipe,
    answers: Answers,
    source: Answers | None = None,
    *,
    out: str | Path | None = None,
    max_skipped: float = MAX_SKIPPED,
    confidence: float = CONFIDENCE,
    max_drop: float | None = None,
) -> Result:
    """Score answers, hold them against the source's to the same samples, and return the verdict.

    ``max_drop`` takes the place of the recipe's tolerance, in its unit. Where ``out`` is given, result.json, report.md
    and what they rest on are written into that folder, in place of an earlier result. Raises DataError where no sample
    was answered.
    """
    begun, job = datetime.now(UTC), answers.job
    if out is not None:
        drop_old_result(Path(out), RESULT, BESIDE)
    rows: Iterator[Rows] = iter(answers.rows) if source is None else _beside(answers, source)
    with tempfile.TemporaryDirectory(prefix="modelport-") as scratch:
        folder = Path(scratch) if out is None else Path(out)
        labels = recipe.dataset.labelled
        how = Scoring(job.task, source is not None, job.full_set, folder / PREDICTIONS, labels=labels)
        scored = score(rows, how)
        scored.skipped = answers.outcome.skipped
        origin = _origin(answers, None if source is None else origin_of(source.source))
        outcome = replace(answers.outcome, scored=scored)
        speed = NOTHING_RAN if answers.model is None else speed_of(answers.model.plan, outcome)
        judging = Judging(confidence, max_drop, max_skipped, planned=len(job.samples), seed=job.seed)
        judged = assemble(recipe, job.task, scored, origin, speed, judging)
        result = replace(judged, seed=job.seed, started=begun.isoformat(timespec="seconds"))
        return result if out is None else written(folder, result, recipe)


def verify(folder: str | Path, progress: Progress | None = None) -> dict[str, Any]:
    """Hold a result folder against itself, offline, and return what was found, as the verb's JSON.

    Its key ``verdict`` is fail where anything does not fit. Raises UsageError where it is no result folder, DataError
    where its result is of another schema.
    """
    return hold_folder(Path(folder), progress or Silent())


def _origin(answers: Answers, source: SourceOrigin | None) -> Origin:
    if answers.model is None:
        engine = "torch" if answers.source is None else answers.source.engine.name
        return Origin(engine, "fp32", answers.outcome.batch, source)
    trail = answers.model.port.trail
    return Origin(
        *(answers.model.plan.engine.name, answers.outcome.precision, answers.outcome.batch, source),
        artifacts=trail.artifacts,
        checks=trail.checks,
        notes=[*trail.notes, *answers.outcome.notes],
    )


def _wanted(wish: Wish | None, engine: str | None, precision: str | None) -> Wish:
    """Return the wish with what was named by itself."""
    wish = wish or Wish()
    return replace(wish, engine=engine or wish.engine, precision=precision or wish.precision)


def _beside(answers: Answers, source: Answers) -> Iterator[Rows]:
    """Yield the engine's rows with the source's answers to the same rows; without where one is missing."""
    with source.rows.finding() as find:
        for chunk in answers.rows:
            found = [row for row in map(find, chunk.ids, chunk.digests) if row is not None]
            yield replace(chunk, source=stack_rows(found)) if len(found) == len(chunk.ids) else chunk
