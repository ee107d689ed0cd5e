"""``evaluate``: saved outputs of any inference, scored as ``run`` scores them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import Artifact, write_text, written_aside
from modelport.core.errors import DataError, UsageError
from modelport.core.options import MAX_SKIPPED, share
from modelport.core.output_folder import drop_old_result, held_folder, write_result
from modelport.core.placement import GuidePlacement, Placement
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.data.files.guide_names import Style
from modelport.data.files.result_files import find_results, summary_of
from modelport.data.files.tensor_index import TensorIndex, hold_index, hold_sizes, read_index
from modelport.data.sets.selection import Uniques, chosen_samples, sample_ids
from modelport.data.sets.table import open_dataset
from modelport.data.stream.batches import Fingerprint
from modelport.data.stream.tensor_rows import placements
from modelport.evaluate.saved import SavedRows, Seen, pair
from modelport.jobs.run import PREDICTIONS, REPORT, RESULT
from modelport.recipes.input_range import odd_input_range
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report import markdown
from modelport.report.assemble import Made, Scored, assemble
from modelport.report.detections import WRITTEN_SCORE, DetectionFiles, write_detection_files
from modelport.report.guide_json import guide_json, guide_text
from modelport.tasks.base import Figures, Rows, Task
from modelport.tasks.table import task_of
from modelport.tasks.ties import Ties
from modelport.verdict import rules as verdict
from modelport.verdict.rules import judged_metrics
from modelport.verdict.soundness import Soundness
from modelport.verdict.tied_figures import digit_checks, rounding_of, tie_notes

NOTHING_RAN = {
    "throughput": {"end_to_end": None, "host": None, "device": None},
    "latency_ms": {},
    "speed_warnings": [],
}


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
    max_skipped: float = MAX_SKIPPED
    force: bool = False
    files: DetectionFiles = field(default_factory=DetectionFiles)
    command: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result, as ``run`` gives it, and the guide's JSON of the same figures."""

    result: dict[str, Any]
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
    if request.files.wanted and not task_of(recipe).finds_boxes:
        raise UsageError(f"{recipe.name} is no detector", "leave --draw, --detections and --coco-json out")
    dataset = open_dataset(recipe.dataset, request.data)
    samples, said = chosen_samples(dataset, request.limit, request.order, request.seed)
    share("--max-skipped", request.max_skipped)
    if request.out is not None:
        held.enter_context(held_folder(request.out, RESULT, request.force))
    index = None if request.tensors is None else read_index(request.tensors)
    samples, skipped = _without_skipped(recipe, samples, index)
    results = find_results(request.results)
    seen = Seen()
    pieces, sizes = pair(results, samples, recipe, index)
    task = task_of(recipe, dataset.categories, request.seed)
    rows = SavedRows(results, sizes, recipe.signature, _placements(request, recipe, task), seen)
    threshold = _threshold(request, task)
    if request.out is not None:
        drop_old_result(request.out, RESULT, (PREDICTIONS, REPORT))
    with tempfile.TemporaryDirectory(prefix="modelport-") as aside:
        predictions = (request.out or Path(aside)) / PREDICTIONS
        tied = task.ties()
        full = verdict.is_full_set(recipe, (sample.id for sample in samples), len(skipped))
        job = _Scoring(task, recipe, threshold, predictions, seen, Uniques(keep_all=full), tied)
        with progress.bar("evaluating", len(samples), "images") as bar:
            figures = job.score(rows, pieces, bar)
        _check_contents(index, seen)
        facts = _own_facts(results.folder)
        if facts.get("partial"):
            results.notes.append(f"{results.folder}: its summary says that the inference stopped half-way")
        notes = [*results.notes, *dataset.notes, *said, *_said(request, recipe, seen, job, figures)]
        counted = [sample for sample in samples if full or sample.id not in job.uniques.repeated]
        rounding = rounding_of(results.suffix, seen.said, tied)
        few = tie_notes(rounding, tied)
        notes += few
        scored = Scored(
            *(figures, [sample.id for sample in counted], skipped, _fingerprint(seen, counted)),
            *(task.smallest_set, job.soundness, job.uniques.repeated, request.max_skipped),
            unsure=tied.points(judged_metrics(recipe)) if rounding else {},
        )
        made = replace(_made(facts), checks=digit_checks(rounding, recipe, tied, few))
        result = assemble(recipe, scored, made, NOTHING_RAN) | {
            "seed": request.seed,
            "notes": notes,
            "command": request.command,
            "results": {"path": str(results.folder), "format": results.suffix[1:].upper(), "files": len(results.files)},
        }
        result["started"], result["seconds"] = started.isoformat(timespec="seconds"), time.perf_counter() - clock
        left_out: list[str] = []
        if request.files.wanted:
            left_out = write_detection_files(request.files, dataset, predictions, progress)
            result["notes"] += left_out
            if request.style == "guide" and request.files.coco_json is not None:
                write_text(request.files.coco_json.parent / "coco_detection_result.txt", guide_text(figures.metrics))
    if request.out is not None:
        write_text(request.out / REPORT, markdown.render(result))
        write_result(request.out, RESULT, result, (PREDICTIONS, REPORT))
    guide = guide_json(task, figures.metrics, len(samples))
    guide["value"] += [{"key": "Note", "value": note} for note in (*few, *left_out)]
    return Evaluation(result, guide)


def _recipe(request: EvaluateRequest) -> Recipe:
    """Return the recipe with its variant; the guide's style takes the one that the guide's script is."""
    recipe = load_recipe(request.recipe)
    variant = request.variant
    if request.style == "guide" and variant is None and recipe.guide_files is not None:
        variant = recipe.guide_files.variant
    return recipe.with_variant(variant)


def _threshold(request: EvaluateRequest, task: Task) -> float | None:
    """Return the score below which boxes do not count; None where all do, as in ``run``."""
    given = request.files.score_threshold
    if given is not None and (not task.finds_boxes or not 0 <= given <= 1):
        raise UsageError(f"--score-threshold {given}", "give a number from 0 to 1, and to a detector only")
    if not task.finds_boxes or (given is None and request.style == "modelport"):
        return None
    return WRITTEN_SCORE if given is None else given


@dataclass(slots=True)
class _Scoring:
    """Feeds a scorer and writes its lines."""

    task: Task
    recipe: Recipe
    threshold: float | None
    predictions: Path
    seen: Seen
    uniques: Uniques
    tied: Ties
    dropped: int = 0
    soundness: Soundness = field(init=False)

    def __post_init__(self) -> None:
        self.soundness = Soundness(self.task)

    def score(self, rows: SavedRows, pieces: Sequence[Any], bar: Any) -> Figures:
        """Score all pieces in order and return the figures."""
        scorer = self.task.scorer(False)
        with written_aside(self.predictions) as aside, aside.open("w", encoding="utf-8") as lines:
            for chunk in rows.stream(pieces):
                bar.advance(sum(self.task.sample_of(row) is not None for row in chunk.ids))
                chunk = self._counted_once(chunk)
                if not chunk.ids:
                    continue
                self.soundness.take(chunk.ids, chunk.outputs, None)
                if self.tied.counts:
                    self.tied.take(dict(chunk.outputs), chunk.targets)
                for record in scorer.take(self._above(chunk)):
                    lines.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            for record in scorer.finish():
                lines.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        return scorer.figures()

    def _counted_once(self, rows: Rows) -> Rows:
        """Return the rows whose content no earlier sample has brought."""
        samples = sample_ids(rows.ids, self.task.sample_of)
        kept = self.uniques.kept(samples, (self.seen.digests[sample] for sample in samples))
        if all(kept):
            return rows
        ids, targets, placements = (list(compress(part, kept)) for part in (rows.ids, rows.targets, rows.placements))
        outputs = {name: array[np.array(kept)] for name, array in rows.outputs.items()}
        return Rows(ids, targets, outputs, None, placements)

    def _above(self, rows: Rows) -> Rows:
        """Mark the boxes below the threshold as unused."""
        if self.threshold is None:
            return rows
        dets, labels = (tensor.name for tensor in self.recipe.tensors.outputs)
        low = (rows.outputs[dets][..., 4] < self.threshold) & (rows.outputs[labels] >= 0)
        self.dropped += int(low.sum())
        kept = dict(rows.outputs) | {labels: np.where(low, -1, rows.outputs[labels])}
        return Rows(rows.ids, rows.targets, kept, None, rows.placements)


def _placements(request: EvaluateRequest, recipe: Recipe, task: Task) -> Callable[[bytes, str], Placement | None]:
    """Return where an image lies in the input; the guide's style takes boxes back as the guide's script does."""
    place = placements(recipe, task.finds_boxes)
    if request.style != "guide" or not task.finds_boxes:
        return place
    height, width = (int(side) for side in recipe.tensors.inputs[0].shape[2:])

    def as_in_guide(content: bytes, name: str) -> Placement | None:
        own = place(content, name)
        return None if own is None else GuidePlacement.of(own, (width, height))

    return as_in_guide


def _without_skipped(
    recipe: Recipe, samples: Sequence[Sample], index: TensorIndex | None
) -> tuple[Sequence[Sample], list[str]]:
    """Return the samples that have tensors, and the ids of those that ``preprocess`` skipped."""
    if index is None:
        return samples, []
    hold_index(index, recipe)
    hold_sizes(index)
    gone = set(index.skipped)
    skipped = [sample.id for sample in samples if sample.id in gone]
    return [sample for sample in samples if sample.id not in gone], skipped


def _check_contents(index: TensorIndex | None, seen: Seen) -> None:
    """Raise DataError where an image is no longer the one that the tensors were made from."""
    known = {} if index is None else index.digests
    if changed := [name for name, digest in seen.digests.items() if known.get(name, digest) != digest]:
        raise DataError(
            f"{len(changed)} images are not those that the tensors were made from: {', '.join(changed[:3])}",
            "give the data set that preprocess was given",
        )


def _said(request: EvaluateRequest, recipe: Recipe, seen: Seen, job: _Scoring, figures: Figures) -> list[str]:
    notes = ["saved outputs were scored: nothing was run here, and there is no source model to hold them against"]
    if recipe.variant and recipe.variant != request.variant:
        notes.append(f"variant '{recipe.variant}', as the guide's script does it")
    if request.style == "guide" and job.task.finds_boxes:
        notes.append(
            "boxes go back to the image as the guide's script takes them: one scale for both sides, each corner "
            "clipped on its own side only; up to a pixel from where `modelport run` and --style modelport put them"
        )
    notes += filter(None, [odd_input_range(recipe)])
    notes += sorted(seen.said)
    if seen.with_nan:
        first = ", ".join(seen.with_nan[:3]) + (" …" if len(seen.with_nan) > 3 else "")
        notes.append(f"{len(seen.with_nan)} rows hold NaN and are no right answer: {first}")
    if job.threshold is not None:
        notes.append(f"boxes with a score below {job.threshold:g} do not count: {job.dropped} of them")
    if "knn_top1" in recipe.metrics:
        notes.append("knn_top1 was not measured: it needs features of the training split, see `modelport run`")
    return notes + figures.notes


def _fingerprint(seen: Seen, samples: Sequence[Sample]) -> str:
    fingerprint = Fingerprint()
    for sample in samples:
        fingerprint.update(sample.id, seen.digests[sample.id])
    return fingerprint.hexdigest()


def _made(facts: dict[str, Any]) -> Made:
    """Return what the summary tells of the engine and the model."""
    engine, precision, batch = (facts.get(key) for key in ("engine", "precision", "batch"))
    return Made(
        engine if isinstance(engine, str) else None,
        precision if isinstance(precision, str) else None,
        batch if isinstance(batch, int) else None,
        artifacts=_artifacts(facts.get("model")),
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
