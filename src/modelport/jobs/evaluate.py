"""``evaluate``: saved outputs of any inference, scored as ``run`` scores them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, write_text
from modelport.core.errors import DataError, UsageError
from modelport.core.output_folder import drop_old_result, held_folder
from modelport.core.placement import GuidePlacement, Placement
from modelport.core.progress import Progress
from modelport.core.text import plain
from modelport.core.values import DataSet, Sample
from modelport.data.files.guide_names import Style
from modelport.data.files.result_files import Results, find_results, summary_of
from modelport.data.files.tensor_index import TensorIndex, read_index
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.data.stream.tensor_rows import placements
from modelport.evaluate.result_runs import doubts_of_run
from modelport.evaluate.sample_log import SAMPLES
from modelport.evaluate.saved import Piece, SavedRows, Seen, pair, without_skipped
from modelport.evaluate.score import Scored, Scoring, score
from modelport.evaluate.tensors_again import hold_rows
from modelport.jobs.run import written
from modelport.jobs.run_request import check_asked, judging_of
from modelport.recipes.input_range import odd_input_range
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report.assemble import Origin, assemble
from modelport.report.clocks import stages_ms
from modelport.report.detections import WRITTEN_SCORE, DetectionFiles, write_detection_files
from modelport.report.guide_json import guide_json, guide_text
from modelport.report.result import NOTHING_RAN, Result
from modelport.report.result_folder import BESIDE, PREDICTIONS, RESULT
from modelport.report.thumbnails import draw_thumbnails
from modelport.tasks.base import Task
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import need_labels, task_of
from modelport.verdict.rules import is_full_set, rounding_of, tie_notes
from modelport.verdict.settings import Judging

GUIDE_TEXT = "coco_detection_result.txt"
WARNINGS = 20  # of a summary that are repeated: ais_bench has fewer kinds


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What ``modelport evaluate`` is asked for. ``tensors``: the folder that ``preprocess`` wrote."""

    recipe: str
    results: Path
    data: Path
    style: Style = "modelport"
    tensors: Path | None = None
    out: Path | None = None
    variant: str | None = None
    seed: int = 0
    limit: int | None = None
    order: str | None = None
    judging: Judging = field(default_factory=Judging)
    force: bool = False
    files: DetectionFiles = field(default_factory=DetectionFiles)
    command: str = ""
    thumbnails: bool = True  # whether small pictures of samples go into ``out``


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result, as ``run`` gives it, and the guide's JSON of the same figures."""

    result: Result
    guide: dict[str, Any]


def evaluate(request: EvaluateRequest, progress: Progress) -> Evaluation:
    """Score saved outputs; write result.json, predictions.jsonl and report.md where ``out`` is given.

    Raises ModelportError for whatever the user can mend.
    """
    with ExitStack() as held:
        return _evaluate(request, progress, held)


def _evaluate(request: EvaluateRequest, progress: Progress, held: ExitStack) -> Evaluation:
    clock, started = time.perf_counter(), datetime.now(UTC)
    recipe = _recipe(request)
    cut = _Threshold(recipe, _threshold(request, task_of(recipe).finds_boxes))
    check_asked(recipe, request.files)
    need_labels(recipe)
    dataset = open_dataset(recipe, request.data)
    samples, said = chosen_samples(dataset, request.limit, request.order, request.seed)
    if request.out is not None:
        held.enter_context(held_folder(request.out, RESULT, request.force))
    saved = _saved(request, recipe, samples)
    task = task_of(recipe, dataset.categories, request.seed)
    folder = request.out or held.enter_context(scratch())
    if request.out is not None:
        drop_old_result(request.out, RESULT, BESIDE)
    scored = _scored(task, saved, cut, folder / PREDICTIONS, progress)
    notes = [*saved.rows.results.notes, *dataset.notes, *said, *_said(request, recipe, saved.rows.seen, cut)]
    origin = _origin(saved.rows.results, saved.rows.seen, notes)
    left_out = _write_detections(request, dataset, folder / PREDICTIONS, scored.figures, progress)
    drawn = list[str]()
    if request.out is not None and request.thumbnails:
        drawn = draw_thumbnails(request.out, folder / SAMPLES, saved.samples, recipe, progress)
    judging = judging_of(request.judging, len(samples), len(dataset), request.order, request.seed)
    speed = replace(NOTHING_RAN, stages_ms=stages_ms(scored))
    judged = assemble(recipe, task, scored, origin, speed, judging)
    result = replace(
        judged,
        notes=(*judged.notes, *left_out, *drawn),
        seed=request.seed,
        command=request.command,
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
        further={**judged.further, "results": saved.rows.results.to_json()},
    )
    guide = guide_json(task, scored.figures.metrics, len(saved.samples))
    few = tie_notes(rounding_of(origin.rounded, scored.ties), scored.ties)
    guide["value"] += [{"key": "Note", "value": note} for note in (*few, *left_out)]
    if request.out is not None:
        result = written(request.out, result, recipe, _beside(request, request.out / PREDICTIONS))
    return Evaluation(result, guide)


@dataclass(frozen=True, slots=True)
class _Saved:
    """Saved outputs, paired with the samples that they answer."""

    samples: Sequence[Sample]  # those that have tensors
    skipped: list[str]  # ids of those that ``preprocess`` skipped
    index: TensorIndex | None
    rows: SavedRows
    pieces: list[Piece]


def _saved(request: EvaluateRequest, recipe: Recipe, samples: Sequence[Sample]) -> _Saved:
    """Find the outputs and pair them with the samples. Raises DataError where they do not fit each other."""
    index = None if request.tensors is None else read_index(request.tensors)
    samples, skipped = without_skipped(recipe, samples, index)
    results = find_results(request.results)
    pieces, sizes = pair(results, samples, recipe, index)
    results.notes.extend(doubts_of_run(results))
    if index is not None:
        results.notes.extend(hold_rows(index, recipe, samples))
    place = _placements(request, recipe, task_of(recipe).finds_boxes)
    return _Saved(samples, skipped, index, SavedRows(results, sizes, recipe.signature, place, Seen()), pieces)


def _scored(task: Task, saved: _Saved, cut: _Threshold, predictions: Path, progress: Progress) -> Scored:
    """Score the rows; raise DataError where an image is not the one that its tensor was made from."""
    recipe = cut.recipe
    full = is_full_set(recipe, (sample.id for sample in saved.samples), len(saved.skipped))
    with progress.bar("evaluating", len(saved.samples) * recipe.dataset.views, "images") as bar:
        how = Scoring(task, False, full, predictions, bar.advance)
        scored = score(map(cut.above, saved.rows.stream(saved.pieces)), how)
    scored.skipped = saved.skipped
    _check_contents(saved.index, saved.rows.seen)
    return scored


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for what nobody asked for."""
    with tempfile.TemporaryDirectory(prefix="modelport-") as folder:
        yield Path(folder)


def _write_detections(
    request: EvaluateRequest, dataset: DataSet, predictions: Path, figures: Figures, progress: Progress
) -> list[str]:
    """Write the files of boxes that were asked for; return what is to be said of them."""
    if not request.files.wanted:
        return []
    said = write_detection_files(request.files, dataset, predictions, progress)
    if request.style == "guide" and request.files.coco_json is not None:
        write_text(request.files.coco_json.parent / GUIDE_TEXT, guide_text(figures.metrics))
    return said


def _beside(request: EvaluateRequest, predictions: Path) -> Iterator[Path]:
    """Yield the files of boxes that were written."""
    yield from request.files.written(predictions)
    if request.style == "guide" and request.files.coco_json is not None:
        yield request.files.coco_json.parent / GUIDE_TEXT


def _recipe(request: EvaluateRequest) -> Recipe:
    """Return the recipe with its variant; the guide's style takes the one that the guide's script is."""
    recipe = load_recipe(request.recipe)
    variant = request.variant
    if request.style == "guide" and variant is None and recipe.guide_files is not None:
        variant = recipe.guide_files.variant
    return recipe.with_variant(variant)


def _threshold(request: EvaluateRequest, boxes: bool) -> float | None:
    """Return the score below which boxes do not count; None where all do, as in ``run``."""
    given = request.files.score_threshold
    if given is not None and (not boxes or not 0 <= given <= 1):
        raise UsageError(f"--score-threshold {given}", "give a number from 0 to 1, and to a detector only")
    if not boxes or (given is None and request.style == "modelport"):
        return None
    return WRITTEN_SCORE if given is None else given


@dataclass(slots=True)
class _Threshold:
    """The score below which boxes do not count; None where all do."""

    recipe: Recipe
    least: float | None
    dropped: int = 0

    def above(self, rows: Rows) -> Rows:
        """Mark the boxes below the threshold as unused."""
        if self.least is None:
            return rows
        outputs, dropped = task_of(self.recipe).without_low(rows.outputs, self.least)
        self.dropped += dropped
        return replace(rows, outputs=outputs)


def _placements(request: EvaluateRequest, recipe: Recipe, boxes: bool) -> Callable[[bytes, str], Placement | None]:
    """Return where an image lies in the input; the guide's style takes boxes back as the guide's script does."""
    place = placements(recipe)
    if request.style != "guide" or not boxes:
        return place
    height, width = (int(side) for side in recipe.tensors.sample.shape[2:])

    def as_in_guide(content: bytes, name: str) -> Placement | None:
        own = place(content, name)
        return None if own is None else GuidePlacement.of(own, (width, height))

    return as_in_guide


def _check_contents(index: TensorIndex | None, seen: Seen) -> None:
    """Raise DataError where an image is no longer the one that the tensors were made from."""
    known = {} if index is None else index.digests
    if changed := [name for name, digest in seen.digests.items() if known.get(name, digest) != digest]:
        raise DataError(
            f"{len(changed)} images are not those that the tensors were made from: {', '.join(changed[:3])}",
            "give the data set that preprocess was given",
        )


def _said(request: EvaluateRequest, recipe: Recipe, seen: Seen, cut: _Threshold) -> list[str]:
    notes = ["saved outputs were scored: nothing was run here, and there is no source model to hold them against"]
    if recipe.variant and recipe.variant != request.variant:
        notes.append(f"variant '{recipe.variant}', as the guide's script does it")
    if request.style == "guide" and task_of(recipe).finds_boxes:
        notes.append(
            "boxes go back to the image as the guide's script takes them: one scale for both sides, each corner "
            "clipped on its own side only; up to a pixel from where `modelport run` and --style modelport put them"
        )
    notes += filter(None, [odd_input_range(recipe)])
    notes += sorted(seen.said)
    if cut.least is not None:
        notes.append(f"boxes with a score below {cut.least:g} do not count: {cut.dropped} of them")
    if "knn_top1" in recipe.metrics:
        notes.append("knn_top1 was not measured: it needs features of the training split, see `modelport run`")
    return notes


def _origin(results: Results, seen: Seen, notes: list[str]) -> Origin:
    """Return what the summary tells of the engine and the model, and what rounded the answers."""
    facts = _own_facts(results.folder)
    if facts.get("partial"):
        notes.append(f"{results.folder}: its summary says that the inference stopped half-way")
    if isinstance(warned := facts.get("warnings"), list):
        notes += [f"the inference warned: {plain(text, 500)}" for text in warned[:WARNINGS]]
    engine, precision, batch = (facts.get(key) for key in ("engine", "precision", "batch"))
    half = "float16" if any("float16" in said for said in seen.said) else ""
    return Origin(
        engine if isinstance(engine, str) else None,
        precision if isinstance(precision, str) else None,
        batch if isinstance(batch, int) else None,
        artifacts=_artifacts(facts.get("model")),
        notes=notes,
        rounded="the digits of TXT" if results.suffix == ".txt" else half,
    )


def _artifacts(rows: Any) -> list[Artifact]:
    """Return the model that a summary names; none where it is not as modelport writes it."""
    try:
        return [
            Artifact(Path(row["path"]), str(row["kind"]), str(row["sha256"]), tuple(map(str, row["made_from"])))
            for row in rows
        ]
    except (TypeError, KeyError):
        return []


def _own_facts(folder: Path) -> dict[str, Any]:
    """Return what modelport's ais_bench added to the summary; nothing where another one wrote it."""
    facts = (summary_of(folder) or {}).get("modelport")
    return facts if isinstance(facts, dict) else {}
