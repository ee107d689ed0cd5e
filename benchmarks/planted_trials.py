"""One planted fault, one healthy port or one planted setting: made, looked for, mended. A row of the table each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import modelport as mp
from modelport.diagnose.distance import distance
from modelport.diagnose.faults.base import GraphFault, Planted
from modelport.diagnose.faults.healthy import HEALTHY
from modelport.diagnose.faults.table import GRAPH_FAULTS
from modelport.diagnose.trace.causes import culprits_of
from modelport.diagnose.trace.nodes import examine
from modelport.diagnose.trace.repair import grafted
from planted_networks import SMALL, Small, call, inputs_of, own, small

FAULTS = {fault.kind: fault for fault in GRAPH_FAULTS}
FORMS = {form.kind: form for form in HEALTHY}
# Draws of place and size, until the fault changes an answer at all.
DRAWS = 8
# Samples that a trace takes, and that before and after are judged on.
SAMPLES, JUDGED = 8, 48
# Of the largest answer: by how much two runs of one graph may differ (as ``modelport diff`` has it for float32).
SAME = 1e-4


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be done."""

    number: int
    what: str  # graph, healthy, knob or right
    kind: str
    network: str
    engine: str
    seed: int
    more: str = ""  # words of a healthy port, the value of a setting


@dataclass(frozen=True, slots=True)
class Row:
    """What became of it. ``None`` where a question does not apply."""

    number: int
    what: str
    kind: str
    family: str
    network: str
    engine: str
    where: str = ""
    size: float = 1.0
    about: str = ""
    noticed: bool | None = None
    localised: bool | None = None
    named: bool | None = None
    repaired: bool | None = None
    found: str = ""  # what was said
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def graph_of(path: Path) -> onnx.ModelProto:
    """Return a file's graph, kept: several faults are planted into each."""
    return onnx.load(str(path))


def answers(graph: onnx.ModelProto, folder: Path) -> list[np.ndarray[Any, Any]]:
    """Return what a graph answers to one sample on the reference runtime."""
    path = folder / "answers.onnx"
    onnx.save(graph, str(path))
    with mp.open_model(path, "onnxruntime") as runner:
        outputs = runner.run(inputs_of(graph))
    return [outputs[value.name] for value in graph.graph.output]


@cache
def right_answers(network: str, folder: Path) -> list[np.ndarray[Any, Any]]:
    """Return what a network's own graph answers."""
    path = small(folder.parent / "small").graph if network == SMALL else own(network, folder.parent / "own")
    return answers(graph_of(path), folder)


def alike(got: list[np.ndarray[Any, Any]], want: list[np.ndarray[Any, Any]], within: float) -> bool:
    """Whether answers differ by no more than this share of the largest; 0: in no bit."""
    for one, two in zip(got, want, strict=True):
        largest = float(np.abs(two).max(initial=0.0))
        if not distance(one, two).max_abs <= within * largest:
            return False
    return True


def planted(fault: GraphFault, graph: onnx.ModelProto, trial: Trial, folder: Path) -> tuple[Planted, float]:
    """Plant the fault where it changes an answer; return it with its size. Raises LookupError where it never does."""
    random = np.random.default_rng([trial.seed, trial.number])
    places, want = fault.places(graph), right_answers(trial.network, folder)
    for _ in range(DRAWS if places else 0):
        place = places[int(random.integers(len(places)))]
        size = float(fault.sizes[int(random.integers(len(fault.sizes)))])
        made = fault.plant(graph, place, size, random)
        try:
            if not alike(answers(made.graph, folder), want, 0.0):
                return made, size
        except mp.ModelportError:
            return made, size  # a graph that no longer runs is a fault as well
    raise LookupError(f"{fault.kind} changes no answer of {trial.network}")


def graph_trial(trial: Trial, folder: Path) -> Row:
    """Plant a fault, trace it and mend it."""
    fault = FAULTS[trial.kind]
    row = Row(trial.number, trial.what, trial.kind, fault.family, trial.network, trial.engine)
    if trial.network == SMALL:
        files = small(folder.parent / "small")
        made, size = planted(fault, graph_of(files.graph), trial, folder)
        row = replace(row, where=made.where, size=size, about=made.about)
        return by_verb(row, made, files, folder)
    graph = graph_of(own(trial.network, folder.parent / "own"))
    made, size = planted(fault, graph, trial, folder)
    return by_hand(replace(row, where=made.where, size=size, about=made.about), made, graph, folder)


def by_hand(row: Row, made: Planted, reference: onnx.ModelProto, folder: Path) -> Row:
    """Compare two graphs node by node on one sample, and judge what was mended on another."""
    try:
        found = examine(reference, made.graph, inputs_of(reference), None, "fp32")
    except mp.ModelportError as error:
        return replace(row, noticed=True, localised=False, repaired=False, found=f"refused: {error.found}")
    if not found.departed:
        return replace(row, noticed=False, localised=False, repaired=False, found="nothing departs")
    culprits = culprits_of(found, reference, made.graph, "fp32")
    culprit = culprits[0]
    told = f"{culprit.found.op} '{culprit.found.node}': {culprit.why}"
    row = replace(row, noticed=True, localised=culprit.found.node in made.places, found=told)
    try:
        mended = grafted(made.graph, reference, culprits, found.units)
        same = alike(answers(mended, folder), right_answers(row.network, folder), SAME)
        # The best boxes of a detector change places where scores are as good as equal: then node by node again.
        holds = same or not examine(reference, mended, inputs_of(reference), None, "fp32").departed
        return replace(row, repaired=holds)
    except mp.ModelportError as error:
        return replace(row, repaired=False, found=f"{told}; not mended: {error.found}")


def by_verb(row: Row, made: Planted, files: Small, folder: Path) -> Row:
    """Trace the file with the command, which mends it and judges it before and after."""
    model, out = folder / "planted.onnx", folder / "trace"
    onnx.save(made.graph, str(model))
    words = ("--model", model, "--engine", row.engine, "--samples", SAMPLES, "--limit", JUDGED, "--apply")
    value, said = traced(files, out, *words)
    if value is None:
        return replace(row, noticed=True, localised=False, repaired=False, found=said)
    culprits = value["culprits"]
    departs = value["first_bad_stage"] is not None
    if not culprits:
        return replace(row, noticed=departs, localised=False, repaired=False, found=stage_words(value))
    first = culprits[0]
    return replace(
        row,
        noticed=True,
        localised=first["node"] in made.places,
        repaired=bool(value["applied"]["repaired"]),
        found=f"{first['op']} '{first['node']}': {first['why']}"
        + ("" if value["applied"]["repaired"] else f"; not mended: {value['applied']['why']}"),
    )


def traced(files: Small, out: Path, *words: object) -> tuple[dict[str, Any] | None, str]:
    """Run ``modelport trace``; return trace.json's value, None where it was refused, and what was said."""
    of = ("trace", files.recipe, "--weights", files.weights, "--data", files.data, "--out", out, "--force")
    code, said = call(*of, *words)
    path = out / "trace.json"
    if code not in (0, 3) or not path.is_file():
        return None, f"exit {code}: {said.strip()[-300:]}"
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value, ""


def stage_words(value: dict[str, Any]) -> str:
    """Return what a trace says of its first stage that departs, or of its last."""
    stages = value["stages"]
    bad = next((stage for stage in stages if stage["verdict"] != "pass"), stages[-1])
    return f"stage {bad['name']}: {bad['verdict']}: {bad['why']}"


def healthy_trial(trial: Trial, folder: Path) -> Row:
    """Write a port otherwise, or make it otherwise, and hold that nothing is said of it."""
    row = Row(trial.number, trial.what, trial.kind, "healthy", trial.network, trial.engine, about=trial.more)
    if trial.network != SMALL:
        graph = graph_of(own(trial.network, folder.parent / "own"))
        made = FORMS[trial.kind].made(graph)
        if made is None:
            raise LookupError(f"{trial.kind} changes nothing of {trial.network}")
        found = examine(graph, made, inputs_of(graph), None, "fp32")
        told = [f"{unit.op} '{unit.node}' {unit.local.rel_l2:.2g} of {unit.expected:.2g}" for unit in found.departed]
        return replace(row, noticed=bool(told), found="; ".join(told[:3]))
    files = small(folder.parent / "small")
    words: list[object] = ["--engine", trial.engine, "--samples", SAMPLES, *trial.more.split()]
    if trial.kind in FORMS:
        made = FORMS[trial.kind].made(graph_of(files.graph))
        if made is None:
            raise LookupError(f"{trial.kind} changes nothing of {trial.network}")
        model = folder / "healthy.onnx"
        onnx.save(made, str(model))
        words += ["--model", model]
    elif trial.kind == "exported":
        model = folder / "healthy.onnx"
        exported = ("export", files.recipe, "--weights", files.weights, "--out", model, *trial.more.split())
        code, said = call(*exported)
        if code:
            return replace(row, noticed=True, found=f"exit {code}: {said.strip()[-300:]}")
        batch = ["--batch", trial.more.split()[1]] if trial.more.startswith("--batch") else []
        words = ["--engine", trial.engine, "--samples", SAMPLES, "--model", model, *batch]
    if "--precision int8" in trial.more:
        words += ["--calibration", files.data / "train"]
    value, said = traced(files, folder / "trace", *words)
    if value is None:
        return replace(row, noticed=True, found=said)
    departs = value["first_bad_stage"] is not None or bool(value["culprits"])
    return replace(row, noticed=departs, found=stage_words(value) if departs else "")
