"""``init``: a model and, if there are, data → a recipe that ``run`` takes, with what was guessed marked in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_text
from modelport.core.errors import ModelportError, OutputError, UsageError, unknown
from modelport.core.progress import Progress, stage
from modelport.core.text import plain
from modelport.diagnose.probe.finder import Found
from modelport.diagnose.probe.finder_draft import can_be_found, find_for
from modelport.model.architectures.libraries import of_library
from modelport.model.architectures.own import is_own
from modelport.model.architectures.preprocessing import preprocessing_of
from modelport.model.graph.file import metadata_of, read_graph
from modelport.recipes.draft import Line, draft_text
from modelport.recipes.load import parse_recipe
from modelport.stages.describe import Described, describe_library, describe_network, describe_onnx, describe_program
from modelport.stages.draft_data import data_lines, names_told, steps_for
from modelport.stages.draft_steps import preset_of, steps_of, steps_of_library
from modelport.tasks.base import Draft
from modelport.tasks.table import TASKS, task_class


@dataclass(frozen=True, slots=True)
class InitRequest:
    """What ``modelport init`` is asked for. ``task`` None: told from the outputs."""

    model: str
    out: Path
    task: str | None = None
    data: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    force: bool = False
    command: str = "modelport init"


def init(request: InitRequest, progress: Progress) -> dict[str, Any]:
    """Write the recipe and return ``modelport.init/1``: where it lies, what was guessed, and the command to go on with.

    How images are prepared is found where it would be a guess and ``data`` has labels of classes. Raises UsageError for
    what is no model, GraphError for a file that cannot be read, OutputError where ``out`` exists.
    """
    if request.out.suffix != ".toml":
        raise UsageError(f"--out {request.out}: a recipe is a .toml file", "name it recipe.toml")
    if request.out.exists() and not request.force:
        raise OutputError(f"{request.out} exists", "choose another --out, or replace it: --force")
    if request.task is not None and request.task not in TASKS:
        raise UsageError(f"--task {plain(request.task, 40)}", unknown("tasks", request.task, TASKS))
    with stage(progress, "read the model"):
        subject = _subject(request)
    lines, found = _with_found(request, _lines(request, subject), progress)
    text = draft_text(plain(request.command, 300), lines)
    parse_recipe(text, str(request.out))
    write_text(request.out, text)
    data = str(request.data or "DATA")
    words = ["modelport", "run", str(request.out), *subject.words, "--data", data, "--out", "report"]
    told = {} if found is None else {"found": found.to_json()}
    return {
        "schema": "modelport.init/1",
        "path": str(request.out),
        "guessed": [{"key": line.key, "why": line.why} for line in lines if line.guessed],
        **told,
        "next": shlex.join(words),
    }


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a recipe is drafted of."""

    name: str
    described: Described
    steps: Line
    words: tuple[str, ...]  # of `run`, beside recipe and data
    architecture: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # what the file tells of itself


def _subject(request: InitRequest) -> _Subject:
    """Read the model by its spelling. Raises UsageError for one that is none of a model."""
    what = request.model
    path, suffix = Path(what), Path(what).suffix.lower()
    if suffix == ".onnx":
        described = describe_onnx(path, request.shapes)
        metadata = metadata_of(read_graph(path))
        steps = steps_of(described, metadata)
        return _Subject(path.stem, described, steps, ("--source", what), metadata=metadata)
    if suffix == ".pt2":
        described = describe_program(path)
        return _Subject(path.stem, described, steps_of(described, {}), ("--source", what))
    if of_library(what):
        told = preprocessing_of(what)
        described = describe_library(what, told)
        return _Subject(what.partition(":")[2], described, steps_of_library(told), ("--weights", "FILE"), what)
    if is_own(what) and not path.exists():
        described = describe_network(what, request.shapes)
        return _Subject(what.partition(":")[2], described, steps_of(described, {}), ("--trust-code",), what)
    raise UsageError(
        f"{plain(what, 100)}: no model that a recipe is drafted from",
        "give FILE.onnx, FILE.pt2, PKG.MOD:FUNCTION, timm:NAME or torchvision:NAME; weights alone tell no network",
    )


def _lines(request: InitRequest, subject: _Subject) -> list[Line]:
    described = subject.described
    task, draft = _task(request.task, described)
    name = re.sub("[^a-z0-9._-]+", "-", subject.name.lower()).strip("-._") or "model"
    network = [] if subject.architecture is None else [Line("model.architecture", subject.architecture)]
    inputs = [_tensor(described.sample)]
    inputs += [_tensor(spec) | {"value": value} for spec, value in described.constants]
    told = "; ".join(text if key == "size" else f"'{key}': {text}" for key, text in described.guessed.items())
    return [
        Line("schema", "modelport.recipe/1"),
        Line("name", name),
        Line("task", task, draft.why),
        Line("metrics", list(draft.metrics)),
        *network,
        steps_for(request.data, subject.steps),
        Line("tensors.inputs", inputs, told, guessed=bool(told)),
        Line("tensors.outputs", [_tensor(spec) for spec in draft.outputs], _left_out(described, draft.outputs)),
        *task_class(task).draft_lines(draft.outputs, subject.metadata),
        *data_lines(request.data, task_class(task), draft.classes, names_told(subject.metadata)),
    ]


def _with_found(request: InitRequest, lines: list[Line], progress: Progress) -> tuple[list[Line], Found | None]:
    """Return the lines with what the data tells of the preprocessing in place of a guess, and what was found."""
    places = {line.key: place for place, line in enumerate(lines)}
    guess = lines[places["preprocess"]]
    if request.data is None or not guess.guessed:
        return lines, None
    recipe = parse_recipe(draft_text("", lines), str(request.out))
    if not task_class(recipe.task).one_class:
        return lines, None
    if not recipe.dataset.labelled:
        lines[places["preprocess"]] = replace(guess, why=f"{guess.why}; only images with labels tell it")
    if not can_be_found(recipe):
        return lines, None
    found: Found | None = None
    try:
        found = find_for(recipe, request.model, request.data, progress)
        why = found.sentence
    except ModelportError as error:
        why = f"the preprocessing cannot be told: {plain(error.found, 250)}"
    if found is None or found.setting is None:
        lines[places["preprocess"]] = replace(guess, why=f"{guess.why}; {why}")
        return lines, found
    lines[places["preprocess"]] = Line(guess.key, preset_of(found.steps), why)
    if found.label_offset != recipe.dataset.label_offset:
        lines = [line for line in lines if line.key != "dataset.label_offset"]
        if found.label_offset:
            lines.append(Line("dataset.label_offset", found.label_offset, "found with the preprocessing"))
    elif "dataset.label_offset" in places:
        place = places["dataset.label_offset"]
        lines[place] = replace(lines[place], why="found with the preprocessing", guessed=False)
    return lines, found


def _task(asked: str | None, described: Described) -> tuple[str, Draft]:
    """Return the task and what it says of the outputs. Raises UsageError where they are not of the task asked for."""
    for name in TASKS if asked is None else (asked,):
        found = task_class(name).draft(described.outputs, alone=asked is None)
        if found is not None:
            return name, found
    told = "; ".join(map(str, described.outputs))
    raise UsageError(
        f"--task {asked}: the outputs are {told}", "name another task, or write the recipe by hand (docs/recipes.md)"
    )


def _left_out(described: Described, read: Sequence[Any]) -> str:
    names = [spec.name for spec in described.outputs if spec not in read]
    return f"not read: {plain(', '.join(names), 100)}" if names else ""


def _tensor(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
