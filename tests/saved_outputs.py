"""A stand-in for ais_bench: files in, files out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.engines.base import Build
from modelport.engines.registry import get_engine, model_artifact, opened
from modelport.recipes.schema import Recipe

ENGINE = "onnxruntime"


def save(folder: Path, stem: str, outputs: list[Array], format: str) -> None:
    """Write results as ais_bench does."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(outputs):
        path = folder / f"{stem}_{number}.{format}"
        if format == "bin":
            array.tofile(path)
        elif format == "npy":
            np.save(path, array)
        else:
            form = "%d " if array.dtype.kind in "iu" else "%f "
            rows = array.reshape(-1, array.shape[-1])
            path.write_text("".join("".join(form % value for value in row) + "\n" for row in rows))


def infer(recipe: Recipe, model: Path, tensors: Path, out: Path, format: str, batch: int = 1) -> None:
    """Do what ais_bench does: run every file of a folder, and leave a result called after it."""
    shape = [int(axis) for axis in recipe.signature.inputs[0].shape[1:]]
    with opened(get_engine(ENGINE), model_artifact(model), Build(recipe, "fp32", batch)) as runner:
        for path in sorted(tensors.iterdir()):
            if path.suffix not in (".bin", ".npy"):
                continue
            rows = np.fromfile(path, np.float32) if path.suffix == ".bin" else np.load(path)
            rows = rows.reshape(-1, *shape)
            full = np.concatenate([rows, np.repeat(rows[:1], batch - len(rows), 0)]) if len(rows) < batch else rows
            outputs = runner.run({recipe.signature.inputs[0].name: np.ascontiguousarray(full)})
            stem = path.name.partition(".")[0]
            save(out, stem, [outputs[spec.name][: len(rows)] for spec in recipe.signature.outputs], format)


def written(folder: Path) -> list[str]:
    """Return the files that ais_bench would take."""
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".npy"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
