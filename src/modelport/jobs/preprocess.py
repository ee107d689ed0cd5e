"""``preprocess``: a data set as tensor files, with labels and an index beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from modelport.core.artifacts import write_text
from modelport.core.errors import BadSampleError, DataError, OutputError, UsageError
from modelport.core.options import MAX_SKIPPED, batch_rows, share
from modelport.core.output_folder import held_folder, write_result
from modelport.core.progress import Progress
from modelport.core.text import some
from modelport.core.values import Array, Batch, Sample
from modelport.data.files.guide_names import GuideNames, OwnNames, Style, check_names, names_of, row_ids
from modelport.data.files.label_files import BY_ID, LabelFiles
from modelport.data.files.tensor_files import (
    Format,
    check_space,
    remove_unfinished,
    size_text,
    tensor_files,
    tensor_writer,
)
from modelport.data.files.tensor_form import INDEX, SCHEMA
from modelport.data.files.tensor_index import read_index
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.data.stream.tensor_rows import Kind, RowForm, row_form, sample_rows, stream_rows
from modelport.recipes.chain import form_of
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

# Rows that are made at a time where a file holds one.
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class PreprocessRequest:
    """What ``modelport preprocess`` is asked for. ``batch_size`` and ``input_type`` None: the style's own."""

    recipe: str
    data: Path
    out: Path
    format: Format = "bin"
    batch_size: int | None = None
    input_type: Literal["float32", "uint8"] | None = None
    style: Style = "modelport"
    seed: int = 0
    variant: str | None = None
    limit: int | None = None
    order: str | None = None
    max_skipped: float = MAX_SKIPPED
    on_bad_image: Literal["fail", "skip"] = "fail"
    force: bool = False
    command: str = ""


@dataclass(slots=True)
class _Work:
    """What is to be written, and what has been."""

    recipe: Recipe
    samples: Sequence[Sample]
    form: RowForm
    names: OwnNames | GuideNames
    per_file: int
    notes: list[str]
    labels: LabelFiles
    files: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rows: int = 0

    @property
    def row_count(self) -> int:
        """Rows, where none is skipped."""
        return len(self.samples) * self.recipe.dataset.views

    @property
    def written_samples(self) -> list[Sample]:
        """The samples that were not skipped, in order."""
        skipped = set(self.skipped)
        return [sample for sample in self.samples if sample.id not in skipped]


def preprocess(request: PreprocessRequest, progress: Progress) -> dict[str, Any]:
    """Write the tensor files, ``labels.json``, ``labels.npy`` beside the folder, and at last ``index.json``.

    Returns what was written. Raises ModelportError for whatever the user can mend; an index is there only where all
    files are.
    """
    with ExitStack() as held:
        return _preprocess(request, progress, held)


def _preprocess(request: PreprocessRequest, progress: Progress, held: ExitStack) -> dict[str, Any]:
    share("--max-skipped", request.max_skipped)
    work = _plan(request)
    wanted = _planned_names(work, request)
    work.notes.append(check_space(request.out, len(wanted), work.row_count * work.form.bytes))
    progress.note(work.notes[-1])
    held.enter_context(held_folder(request.out, INDEX, request.force))
    _clear(work, request, set(wanted))
    _write_tensors(work, request, progress)
    if not work.files:
        raise DataError("no sample could be preprocessed", "check --data: every image was skipped")
    if work.skipped:
        named = ", ".join(work.skipped[:5]) + (" …" if len(work.skipped) > 5 else "")
        work.notes.append(f"{len(work.skipped)} images could not be decoded and have no tensor: {named}")
    places, notes = work.labels.write(work.written_samples)
    work.notes += notes
    info = _write_info(work, request)
    index = _index(work, request, places, info)
    write_result(request.out, INDEX, index, [BY_ID, *([Path(info).name] if info else [])])
    summary = {key: value for key, value in index.items() if key != "files"}
    return summary | {
        "schema": "modelport.preprocess/1",
        "out": str(request.out),
        "index": str(request.out / INDEX),
        "files": len(work.files),
        "complete": len(work.skipped) <= request.max_skipped * len(work.samples),
    }


def _plan(request: PreprocessRequest) -> _Work:
    recipe = load_recipe(request.recipe)
    guide = recipe.guide_files if request.style == "guide" else None
    names = names_of(request.style, recipe.guide_files, recipe.name)
    notes: list[str] = []
    variant = request.variant
    if guide and guide.variant and variant is None and request.input_type is None:
        variant = guide.variant
        notes.append(f"variant '{variant}': {recipe.variants[variant].about}")
    recipe = recipe.with_variant(variant)
    kind: Kind = request.input_type or (guide.dtype if guide else form_of(recipe.preprocess).dtype)
    dataset = open_dataset(recipe, request.data)
    samples, choice = chosen_samples(dataset, request.limit, request.order, request.seed)
    per_file = batch_rows("--batch-size", request.batch_size) or (guide.batch if guide else 1)
    if guide and guide.names != "batch_number" and per_file > 1:
        raise UsageError(
            f"--batch-size {per_file}: the guide of {recipe.name} writes one row to a file, and ais_bench batches them",
            "leave --batch-size out, or use --style modelport",
        )
    form = row_form(recipe, kind)
    notes += [*dataset.notes, *choice, *form.notes]
    stacked = per_file if guide and guide.names == "batch_number" else None
    labels = LabelFiles(request.out, request.force, stacked)
    work = _Work(recipe, samples, form, names, per_file, notes, labels)
    if short := work.row_count % per_file:
        said = f"the last file holds {short} rows, not {per_file}"
        dropped = "; the guide's script drops such a batch" if guide else ""
        work.notes.append(f"{said}{dropped}: here it is kept")
    return work


def _planned_names(work: _Work, request: PreprocessRequest) -> list[str]:
    """Return the names that the files get where no image is skipped. Raises DataError where two are one."""
    rows = row_ids(work.samples, work.recipe.dataset.views)
    starts = range(0, len(rows), work.per_file)
    stems: dict[str, str] = {
        rows[start]: work.names.stem(number, start, rows[start : start + work.per_file])
        for number, start in enumerate(starts)
    }
    check_names(stems)
    return [f"{stem}.{request.format}" for stem in stems.values()]


def _clear(work: _Work, request: PreprocessRequest, wanted: set[str]) -> None:
    """Make the folder ready: nothing may lie in it that ais_bench would take for an input besides the new files.

    The index goes first. Raises OutputError where the folder holds tensors of another making.
    """
    work.labels.check(work.samples)
    remove_unfinished(request.out)
    there = set(tensor_files(request.out))
    if there and not request.force:
        raise OutputError(
            f"{request.out} holds {len(there)} tensor files and no {INDEX}: {some(sorted(there))}",
            "choose another --out, or replace them with --force",
        )
    index = request.out / INDEX
    try:
        known = set(read_index(index).files) if index.exists() else set()
    except DataError:
        known = set()
    if strange := there - known - wanted:
        raise OutputError(
            f"{request.out} holds tensor files that are not of this making: {some(sorted(strange))}",
            "move them elsewhere: ais_bench would take them for inputs",
        )
    index.unlink(missing_ok=True)
    for name in (BY_ID, *there):
        (request.out / name).unlink(missing_ok=True)


def _write_tensors(work: _Work, request: PreprocessRequest, progress: Progress) -> None:
    def bad(sample: Sample, error: BadSampleError) -> None:
        work.skipped.append(sample.id)

    batch = work.per_file if work.per_file > 1 else min(AT_ONCE, work.row_count)
    skip = bad if request.on_bad_image == "skip" else None
    with (
        progress.bar("writing tensors", work.row_count, "images") as bar,
        closing(stream_rows(work.recipe, work.samples, work.form, batch, request.seed, skip)) as batches,
        tensor_writer(request.out, request.format) as write,
    ):
        for made in batches:
            _write_batch(work, made, write)
            bar.advance(len(made.ids))


def _write_batch(work: _Work, batch: Batch, write: Callable[[str, Array], str]) -> None:
    values = batch.inputs[work.recipe.signature.inputs[0].name]
    facts = list(sample_rows(batch))
    for start in range(0, len(facts), work.per_file):
        chosen = facts[start : start + work.per_file]
        ids = [row for row, _, _ in chosen]
        # A part of an array would keep the whole batch alive until it is written; that is a few batches at most.
        stem = work.names.stem(len(work.files), work.rows, ids)
        name = write(stem, values[start : start + len(chosen)])
        entry: dict[str, Any] = {"file": name, "ids": ids, "sha256": [digest for _, digest, _ in chosen]}
        entry["bytes"] = len(chosen) * work.form.bytes
        if any(place is not None for _, _, place in chosen):
            entry["placements"] = [None if place is None else asdict(place) for _, _, place in chosen]
        work.files.append(entry)
        work.rows += len(chosen)


def _write_info(work: _Work, request: PreprocessRequest) -> str | None:
    """Write the guide's list of images with their sizes, for a detector."""
    guide = work.recipe.guide_files
    if guide is None or guide.info_file is None:
        return None
    sizes = {
        row: (place["image_width"], place["image_height"])
        for entry in work.files
        for row, place in zip(entry["ids"], entry.get("placements", ()), strict=False)
    }
    if any(character.isspace() for sample in work.samples for character in str(sample.path)):
        work.notes.append(f"{guide.info_file}: a path holds a space, at which the guide's scripts split")
    lines = []
    for index, sample in enumerate(work.written_samples):
        width, height = sizes[sample.id]
        lines.append(f"{index} {sample.path} {width} {height}\n")
    path = request.out / guide.info_file
    write_text(path, "".join(lines))
    return str(path)


def _index(work: _Work, request: PreprocessRequest, labels: dict[str, str], info: str | None) -> dict[str, Any]:
    written = sum(entry["bytes"] for entry in work.files)
    return {
        "schema": SCHEMA,
        "recipe": work.recipe.name,
        "recipe_sha256": work.recipe.digest,
        "variant": work.recipe.variant,
        "style": request.style,
        "format": request.format,
        "dtype": work.form.kind,
        "layout": work.form.layout,
        "shape": list(work.form.shape),
        "batch_size": work.per_file,
        "views": work.recipe.dataset.views,
        "seed": request.seed,
        "n": len(work.samples) - len(work.skipped),
        "rows": work.rows,
        "skipped": work.skipped,
        "bytes": written,
        "size": size_text(written),
        "labels": labels,
        "info": info,
        "notes": work.notes,
        "command": request.command,
        "files": work.files,
    }
