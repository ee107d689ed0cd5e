"""``probe``: which single change of preprocessing, labels, layout or tensor order explains the accuracy."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_json
from modelport.core.errors import DataError, UsageError
from modelport.core.output_folder import drop_old_result, held_folder
from modelport.core.progress import Progress, stage
from modelport.core.text import plain
from modelport.core.values import DataSet, Sample
from modelport.data.files.result_files import find_results
from modelport.data.files.tensor_index import read_index
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset, open_labelled
from modelport.data.sets.unlabelled import open_images
from modelport.data.stream.tensor_rows import placements
from modelport.diagnose.changes.base import AS_IT_IS
from modelport.diagnose.changes.table import Changed, changed_recipes
from modelport.diagnose.probe.halving import FIRST
from modelport.diagnose.probe.probing import Findings, Question, probed, tally_of
from modelport.diagnose.probe.relabelled import relabelled
from modelport.diagnose.probe.saved import SavedAnswers
from modelport.diagnose.probe.subject import Subject
from modelport.diagnose.probe.tally import By
from modelport.diagnose.probe.telling import findings_json, notes_of, with_resampled
from modelport.diagnose.probe.trials import Answering, Trials, run_key
from modelport.engines.base import Build, Runner
from modelport.evaluate.saved import SavedRows, Seen, pair, without_skipped
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report.result import environment
from modelport.stages.plan import Given
from modelport.tasks.base import Task
from modelport.tasks.judged import Floats
from modelport.tasks.table import task_of

SCHEMA = "modelport.probe/1"
RESULT = "probe.json"
# Samples of the last round, where nothing else is said.
SAMPLES = 8 * FIRST


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What ``modelport probe`` is asked for. ``results`` in place of a model: outputs that were saved."""

    recipe: str
    data: Path
    out: Path
    given: Given = field(default_factory=Given)
    results: Path | None = None
    tensors: Path | None = None
    labels: Path | None = None
    engine: str | None = None
    variant: str | None = None
    checkpoint_key: str | None = None
    limit: int | None = None
    seed: int = 0
    force: bool = False
    command: str = ""


def probe(request: ProbeRequest, progress: Progress) -> dict[str, Any]:
    """Try the changes, write probe.json and return it (schema ``modelport.probe/1``).

    Raises ModelportError for whatever the user can mend; then ``out`` holds no new result.
    """
    clock, started = time.perf_counter(), datetime.now(UTC)
    _check(request)
    recipe = load_recipe(request.recipe).with_variant(request.variant).with_checkpoint_key(request.checkpoint_key)
    data = _data(request, recipe)
    limit = SAMPLES if request.limit is None and request.results is None else request.limit
    # In the data set's order the first round might see one class alone.
    order = None if request.results is not None else "random"
    samples, said = chosen_samples(data.samples, limit, order, request.seed)
    with held_folder(request.out, RESULT, request.force), ExitStack() as held:
        drop_old_result(request.out, RESULT, ())
        road = _Road(request, recipe, data, samples, progress, held)
        told = road.saved() if request.results is not None else road.run()
        told |= {
            "notes": [*data.samples.notes, *data.said, *said, *told["notes"]],
            "environment": environment(),
            "seed": request.seed,
            "command": request.command,
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
        }
        write_json(request.out / RESULT, told)
    return told


def _check(request: ProbeRequest) -> None:
    """Raise UsageError for files that do not go together."""
    given = request.given
    of_file = given.model is not None and given.weights is None
    if request.checkpoint_key is not None and (of_file or given.source is not None or request.results is not None):
        raise UsageError(
            f"--checkpoint-key {plain(request.checkpoint_key, 40)} chooses among the weights of a checkpoint, and none "
            "is opened",
            "leave it out, or give --weights FILE",
        )
    if request.results is not None:
        files = {"--weights": given.weights, "--source": given.source, "--model": given.model}
        if more := [name for name, value in files.items() if value is not None]:
            raise UsageError(f"--results and {more[0]} both say what answers", "give one of them")
        if request.engine is not None:
            raise UsageError("--engine says nothing to --results: nothing is run", "leave it out")
    elif request.tensors is not None:
        raise UsageError("--tensors says which rows saved outputs answer", "give it with --results DIR")


@dataclass(frozen=True, slots=True)
class _Data:
    samples: DataSet
    labelled: bool
    said: tuple[str, ...] = ()


def _data(request: ProbeRequest, recipe: Recipe) -> _Data:
    """Open the data, labelled where it can be. Raises UsageError, DataError."""
    # A wrong offset must not keep labels out that the right one lets in.
    wide = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"label_offset": 0})})
    first = None
    for form in (recipe, wide):
        try:
            if request.labels is not None:
                return _Data(open_labelled(form, request.data, request.labels), True)
            return _Data(open_dataset(form, request.data), recipe.dataset.labelled)
        except DataError as error:
            first = first or error
    assert first is not None
    if request.labels is None:
        said = f"looked at without labels, for {request.data} is not laid out as '{recipe.dataset.kind}': {first.found}"
        with suppress(DataError):
            return _Data(open_images(request.data), False, (said,))
    raise first


@dataclass(frozen=True, slots=True)
class _Road:
    """One probe on its way."""

    request: ProbeRequest
    recipe: Recipe
    data: _Data
    samples: Sequence[Sample]
    progress: Progress
    held: ExitStack

    def task(self, recipe: Recipe) -> Task:
        return task_of(recipe, self.data.samples.categories, self.request.seed)

    def run(self) -> dict[str, Any]:
        """Probe a model."""
        with stage(self.progress, "source"):
            subject = Subject.of(self.recipe, self.request.given, self.request.engine, self.progress)
        by = self._by(subject)
        source = None if subject.source is None else self.held.enter_context(self._source_of(subject))
        runner = self.held.enter_context(subject.opening(self.recipe))
        changes = changed_recipes(self.recipe, self.task(self.recipe), subject.weights)
        question = Question(self.recipe, changes, by, self.task, self._published(subject))
        bar = self.held.enter_context(self.progress.bar("probing", None, "changes"))
        shared = (self.recipe, self.samples, subject.batch)
        trials = Trials(*shared, subject.opening, runner, source if by == "agreement" else None, self.request.seed, bar)
        reference = None
        if by == "labels" and source is not None:
            theirs = Trials(*shared, subject.opening, source, seed=self.request.seed)
            reference = _reference(question, theirs)
        findings = probed(question, trials, reference)
        told = {"path": str(subject.artifact.shown), "sha256": subject.artifact.sha256, "engine": subject.engine}
        beside = None if subject.source is None else subject.source.title
        return self._told(question, findings, told, beside, list(subject.notes), trials.runs)

    def saved(self) -> dict[str, Any]:
        """Probe saved outputs."""
        request, recipe = self.request, self.recipe
        assert request.results is not None
        if self._by(None) != "labels":
            raise UsageError("--results without labels: there is nothing to hold saved outputs against", "add --labels")
        index = None if request.tensors is None else read_index(request.tensors)
        samples, _ = without_skipped(recipe, self.samples, index)
        results = find_results(request.results)
        pieces, sizes = pair(results, samples, recipe, index)
        rows = SavedRows(results, sizes, recipe.signature, placements(recipe), Seen())
        own = run_key(None, recipe)
        changes = changed_recipes(recipe, self.task(recipe))
        changes = [changed for changed in changes if run_key(changed, recipe) == own]
        question = Question(recipe, changes, "labels", self.task)
        findings = probed(question, SavedAnswers(rows, pieces))
        said = "saved outputs were read: only how they are read and what the labels are was changed"
        told = {"path": str(results.folder), "sha256": None, "engine": None}
        return self._told(question, findings, told, None, [*results.notes, *sorted(rows.seen.said), said], 0)

    def _published(self, subject: Subject) -> float | None:
        """Return the published figure that decides, where these are the published weights, and samples of its set."""
        recipe, ids = self.recipe, self.recipe.dataset.published_ids
        if recipe.weights is None or subject.artifact.sha256 != recipe.weights.sha256 or ids is None:
            return None
        if not all(re.fullmatch(ids, sample.id) for sample in self.samples):
            return None
        wanted = self.task(recipe).deciding, recipe.variant, "percent"
        told = (one.value for one in recipe.published if (one.metric, one.variant, one.unit) == wanted)
        return next(told, None)

    def _by(self, subject: Subject | None) -> By:
        """Return what answers are held against."""
        task = self.task(self.recipe)
        if self.data.labelled or not task.needs_labels:
            return "labels"
        return "agreement" if subject is not None and subject.source is not None else "confidence"

    def _source_of(self, subject: Subject) -> AbstractContextManager[Runner]:
        assert subject.source is not None
        return subject.source.open(Build(self.recipe, "fp32", subject.batch))

    def _relabelled(self, findings: Findings) -> Recipe | None:
        """Return the recipe that numbers the classes as the explanation does; None where it is about something else."""
        best = findings.found.best
        if best is None:
            return None
        change = best.tally.changed.change
        return relabelled(self.recipe, change, self.data.samples, lambda recipe: _data(self.request, recipe).samples)

    def _told(
        self,
        question: Question,
        findings: Findings,
        model: dict[str, Any],
        beside: str | None,
        notes: list[str],
        runs: int,
    ) -> dict[str, Any]:
        """Return probe.json, without what it was made by."""
        findings = with_resampled(findings, self.request.seed)
        return {
            "schema": SCHEMA,
            "recipe": self.recipe.name,
            "variant": self.recipe.variant,
            "task": self.recipe.task,
            "model": model,
            "source": beside,
            "held_against": "nothing" if findings.untold else question.by,
            **findings_json(self.recipe, question, findings, self._relabelled(findings)),
            "runs": runs,
            "notes": [*notes, *notes_of(question, findings)],
        }


def _reference(question: Question, theirs: Answering) -> Callable[[int], Floats]:
    """Return what tells what a source earns of the first so many samples."""

    def earned(n: int) -> Floats:
        tally = tally_of(question, Changed(AS_IT_IS, question.recipe))
        theirs.extend([tally], n)
        return tally.earned().evidence

    return earned
