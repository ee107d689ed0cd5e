"""What faults are planted into: the five recipes' own graphs, and ResNet-18s of 96 pixels with weights and data."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import modelport as mp
import textures
from modelport.cli.main import main
from planted_training import train
from textures import draw_textures

OWN = ("simclr", "moco-v2", "smlp-t", "inception-v4", "nas-fpn")
SMALL, FINE = "resnet-18 of 96 pixels", "resnet-18, fine textures"
IMAGES, TRAIN_PER_CLASS = 300, 100


@dataclass(frozen=True, slots=True)
class Small:
    """The files of a ResNet-18: its recipe, a checkpoint fitted on drawn data, the data, and its graph."""

    folder: Path

    @property
    def recipe(self) -> Path:
        return self.folder / "small.toml"

    @property
    def weights(self) -> Path:
        return self.folder / "small.pth.tar"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def graph(self) -> Path:
        return self.folder / "small.onnx"


def call(*words: object) -> tuple[int, str]:
    """Run ``modelport`` with these words in this process; return its exit code and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main(["--quiet", *map(str, words)])
        except SystemExit as left:
            return left.code if isinstance(left.code, int) else 0, said.getvalue()
    return 0, said.getvalue()


def need(*words: object) -> None:
    """Run ``modelport``; leave with what it said where it did not end well."""
    code, said = call(*words)
    if code:
        raise SystemExit(f"modelport {' '.join(map(str, words))} failed:\n{said[-2000:]}")


def moco_of(side: int, resized: int, tolerance: float) -> str:
    """Return moco-v2's recipe for a ResNet-18 of 10 classes: crops of ``side`` pixels from ``resized`` ones."""
    text = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")
    changes = {
        'name = "moco-v2"': 'name = "small"',
        'architecture = "resnet50"': 'architecture = "resnet18"',
        "classes = 1000": "classes = 10",
        '"batch", 1000]': '"batch", 10]',
        "3, 224, 224]": f"3, {side}, {side}]",
        "size = 256": f"size = {resized}",
        "size = 224": f"size = {side}",
        "[tolerance]\nvalue = 1.0": f"[tolerance]\nvalue = {tolerance}",
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def small(folder: Path, *, fine: bool = False) -> Small:
    """Return a ResNet-18, made in ``folder`` where it is not there yet; ``fine``: trained on fine textures."""
    made = Small(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = moco_of(96, 109, 2.5)  # 96 / 0.875, the usual share of the crop
    if not made.recipe.is_file() or made.recipe.read_text(encoding="utf-8") != text:
        made.recipe.write_text(text, encoding="utf-8")  # another process may be reading it
    if not made.data.is_dir() and fine:
        draw_textures(made.data, IMAGES, TRAIN_PER_CLASS, 3, textures.FINE)
    elif not made.data.is_dir():
        need("samples", "data", "imagenet", "--count", IMAGES, "--seed", 3, "--out", made.data)
    if not made.weights.is_file():
        fitted = folder / "fitted.pth.tar"
        fitted.unlink(missing_ok=True)
        need("samples", "weights", made.recipe, "--data", made.data, "--out", fitted)
        if fine:
            train(made.recipe, fitted, made.data)
        fitted.rename(made.weights)
    if not made.graph.is_file():
        need("export", made.recipe, "--weights", made.weights, "--out", made.graph)
    return made


def own(name: str, folder: Path) -> Path:
    """Return the graph of a recipe with random weights, made in ``folder`` where it is not there yet."""
    path = folder / f"{name}.onnx"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        recipe, weights = mp.load_recipe(name), folder / f"{name}.pth"
        mp.random_weights(recipe, weights)
        _live_in(weights)
        shutil.copyfile(mp.export(mp.source(recipe, weights)).path, path)
    return path


def _live_in(path: Path) -> None:
    """Give vectors of a checkpoint (norms, biases) values as trained ones have: new ones are all 0 or 1."""
    import torch

    content = torch.load(path, weights_only=True)
    random = np.random.default_rng(0)

    def change(values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, dict | Mapping):
                change(value)
            elif isinstance(value, torch.Tensor) and value.dim() == 1 and value.is_floating_point():
                around = 1.0 if name.endswith(("weight", "running_var")) else 0.0
                drawn = around + random.uniform(-0.3, 0.3, len(value))
                value.copy_(torch.from_numpy(drawn))

    change(content)
    torch.save(content, path)


def inputs_of(graph: onnx.ModelProto, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Return one random sample, of the spread that normalised images have."""
    value = graph.graph.input[0]
    shape = [axis.dim_value or 1 for axis in value.type.tensor_type.shape.dim]
    return {value.name: np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}
