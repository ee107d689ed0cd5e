"""One wrong setting, planted into a recipe, a file or a data set: does ``probe`` name it, and does its repair hold?"""

from __future__ import annotations

import copy
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import modelport as mp
from modelport.diagnose.changes.chains import effect
from modelport.diagnose.changes.table import Changed, changed_recipes
from modelport.recipes.toml import toml_text
from modelport.tasks.table import task_of
from planted_networks import FINE, IMAGES, Small, call, small
from planted_trials import Row, Trial, graph_of

# Samples that the last round of a probe takes.
PROBED = 256
# A setting that changes fewer of the first images' answers than this share is no fault.
CHANGED, LOOKED_AT = 0.02, 96
# Of the images' share that is right: by how much the mended recipe may be below the right one.
SAME = 0.5
SIDES, BYTES = "sides exchanged", "NHWC bytes"
TURNED = "turned round"
LABELS = "val_label.txt"
FAMILIES = {"label_offset": "labels", "class_order": "labels", "layout": "input", "channel_order": "input"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A wrong recipe, file or data set, and the settings that would be right to name."""

    recipe: mp.Recipe
    model: Path
    data: Path
    right: frozenset[tuple[str, str]]


def knobs(files: Small) -> list[tuple[str, str]]:
    """Return the settings that can be planted: kind and value, each undone by a single change of what it makes.

    What changes none of the first images (they have no EXIF rotation) is no fault.
    """
    recipe = mp.load_recipe(str(files.recipe))
    right = _prepared(recipe, files)
    found = []
    for one in changed_recipes(recipe, task_of(recipe)):
        if _undone(recipe, one):
            moved = one.recipe.dataset != recipe.dataset or not np.array_equal(_prepared(one.recipe, files), right)
            found += [(one.change.kind, one.change.value)] if moved else []
    return [*found, ("layout", SIDES), ("layout", BYTES), ("class_order", TURNED)]


def _prepared(recipe: mp.Recipe, files: Small) -> np.ndarray[Any, Any]:
    """Return the first images as a recipe prepares them."""
    with closing(mp.batches(recipe, mp.open_dataset(recipe, files.data), 8)) as batches:
        return next(batches).inputs[recipe.tensors.inputs[0].name]


def _undone(recipe: mp.Recipe, planted: Changed) -> frozenset[tuple[str, str]]:
    """Return the changes that make the right recipe of the wrong one."""
    if planted.change.recipe is None:
        return frozenset()
    back = changed_recipes(planted.recipe, task_of(planted.recipe))
    return frozenset(
        (one.change.kind, one.change.value)
        for one in back
        if one.change.recipe is not None and effect(one.recipe) == effect(recipe)
    )


def knob_trial(trial: Trial, folder: Path) -> Row:
    """Plant a setting, or none (``right``), and probe."""
    files = small(folder.parent / "fine", fine=True)
    asked = _planted(trial, files, folder)
    if _changes_little(asked.recipe, files):
        raise LookupError(f"{trial.kind} = {trial.more} changes next to no answer")
    family = "healthy" if trial.what == "right" else FAMILIES.get(trial.kind, "preprocessing")
    row = Row(trial.number, trial.what, trial.kind, family, FINE, trial.engine, where=trial.more)
    out, wrong = folder / "probe", folder / "wrong.toml"
    wrong.write_text(toml_text(asked.recipe.to_json()), encoding="utf-8")
    subject: list[object] = ["--model", asked.model, "--engine", trial.engine]
    if trial.engine == "torch":
        subject = ["--weights", files.weights]
    words = ("--data", asked.data, "--limit", PROBED, "--seed", trial.seed, "--out", out, "--force")
    code, said = call("probe", wrong, *subject, *words)
    if code not in (0, 3):
        return replace(row, noticed=True, named=False, repaired=False, found=f"exit {code}: {said.strip()[-300:]}")
    value = json.loads((out / "probe.json").read_text(encoding="utf-8"))
    told = value["explanation"]
    if trial.what == "right":
        return replace(row, noticed=told is not None, found="" if told is None else told["sentence"])
    if told is None:
        notes = next((note for note in value["notes"] if note.startswith("better")), "nothing explains")
        return replace(row, noticed=notes.startswith("better"), named=False, repaired=False, found=notes)
    # Near settings may not be told apart on so few samples: then all of them are told.
    named = any((one["change"], one["value"]) in asked.right for one in (told, *told["alike"]))
    row = replace(row, noticed=True, named=named, found=told["sentence"])
    return replace(row, repaired=bool(told["lines"]) and _mended(asked, told["lines"], files, folder, trial.engine))


def _changes_little(recipe: mp.Recipe, files: Small) -> bool:
    """Whether a recipe of another preprocessing leaves nearly all answers as they are."""
    right = mp.load_recipe(str(files.recipe))
    if recipe.preprocess == right.preprocess:
        return False  # nothing is planted there, or elsewhere
    classes = [_classes(one, files) for one in (recipe, right)]
    return float(np.mean(classes[0] != classes[1])) < CHANGED


def _classes(recipe: mp.Recipe, files: Small) -> np.ndarray[Any, Any]:
    """Return the class that the network answers to each of the first images."""
    given, made = recipe.tensors.inputs[0].name, recipe.tensors.outputs[0].name
    found = []
    with (
        mp.open_model(files.graph, "onnxruntime", wish=mp.Wish(batch=8)) as runner,
        closing(mp.batches(recipe, mp.open_dataset(recipe, files.data), 8)) as batches,
    ):
        for batch in islice(batches, LOOKED_AT // 8):
            found.append(runner.run({given: batch.inputs[given]})[made].argmax(1))
    return np.concatenate(found)


def _planted(trial: Trial, files: Small, folder: Path) -> Asked:
    recipe = mp.load_recipe(str(files.recipe))
    here = frozenset({(trial.kind, trial.more)})
    if trial.what == "right":
        return Asked(recipe, files.graph, files.data, frozenset())
    if trial.kind == "layout":
        model = folder / "layout.onnx"
        onnx.save(_reads(graph_of(files.graph), trial.more), str(model))
        return Asked(recipe, model, files.data, here)
    if trial.kind == "class_order":
        classes = recipe.dataset.classes
        assert classes is not None
        return Asked(recipe, files.graph, _turned(files.data, files.folder / "turned", classes), here)
    changed = changed_recipes(recipe, task_of(recipe))
    planted = next(one for one in changed if (one.change.kind, one.change.value) == (trial.kind, trial.more))
    return Asked(planted.recipe, files.graph, files.data, _undone(recipe, planted))


def _reads(graph: onnx.ModelProto, how: str) -> onnx.ModelProto:
    """Return the graph as one that takes its input with the sides exchanged, or as NHWC bytes."""
    made = copy.deepcopy(graph)
    given = made.graph.input[0]
    name, size = given.name, [axis.dim_value for axis in given.type.tensor_type.shape.dim]
    for node in made.graph.node:
        for place, taken in enumerate(node.input):
            if taken == name:
                node.input[place] = "layout/planes"
    nodes = [helper.make_node("Transpose", [name], ["layout/planes"], "layout/turn", perm=[0, 1, 3, 2])]
    if how == BYTES:
        shape = numpy_helper.from_array(np.array([-1, size[2], size[3], size[1]], np.int64), "layout/shape")
        made.graph.initializer.append(shape)
        nodes = [
            helper.make_node("Reshape", [name, "layout/shape"], ["layout/rows"], "layout/read"),
            helper.make_node("Transpose", ["layout/rows"], ["layout/planes"], "layout/turn", perm=[0, 3, 1, 2]),
        ]
    for place, node in enumerate(nodes):
        made.graph.node.insert(place, node)
    return made


def _turned(data: Path, out: Path, classes: int) -> Path:
    """Return the data set with its classes numbered in the reverse order."""
    if not out.is_dir():
        making = out.with_name(f"{out.name}-{os.getpid()}")
        shutil.copytree(data / "val", making / "val")
        lines = (line.split() for line in (data / LABELS).read_text(encoding="utf-8").splitlines())
        text = "".join(f"{name} {classes - 1 - int(label)}\n" for name, label in lines)
        (making / LABELS).write_text(text, encoding="utf-8")
        if out.is_dir():
            shutil.rmtree(making)  # the other process was quicker
        else:
            making.rename(out)
    return out


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return base | {
        key: _merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in more.items()
    }


def _mended(asked: Asked, lines: list[str], files: Small, folder: Path, engine: str) -> bool:
    """Whether the recipe with the lines that ``probe`` gives is as often right as the right recipe."""
    mended = folder / "mended.toml"
    mended.write_text(toml_text(_merged(asked.recipe.to_json(), tomllib.loads("\n".join(lines)))), encoding="utf-8")
    got = _right(mended, asked.model, asked.data, files, engine, folder)
    return got is not None and got >= (_right_of(files, engine, folder) or 0.0) - SAME


@cache
def _right_of(files: Small, engine: str, folder: Path) -> float | None:
    return _right(files.recipe, files.graph, files.data, files, engine, folder)


def _right(recipe: Path, model: Path, data: Path, files: Small, engine: str, folder: Path) -> float | None:
    """Return the accuracy of a run over all images; None where it failed."""
    out = folder / "run"
    subject: list[object] = [] if engine == "torch" else ["--model", model]
    words = ("--weights", files.weights, *subject, "--data", data, "--engine", engine, "--out", out, "--force")
    code, _ = call("run", recipe, *words, "--limit", IMAGES)
    if code not in (0, 1, 3):
        return None
    value = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return float(value["metrics"]["top1"]["value"])


def engines() -> Iterator[str]:
    """Yield the engines in turn, without an end."""
    while True:
        yield from ("onnxruntime", "openvino", "torch")
