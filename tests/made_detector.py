"""A detector of coloured squares as an ONNX file, and squares to find: everything a YOLO has but for its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE, CELL = 64, 16
CELLS = (SIDE // CELL) ** 2
NAMES = ("red", "green", "blue")


def write_detector(path: Path) -> Path:
    """Write a graph (batch, 3, 64, 64) → (batch, 4 + 3, 16): each cell is a box whose colour is its class."""
    rows, columns = np.divmod(np.arange(CELLS), SIDE // CELL)
    boxes = np.stack([columns * CELL + 8, rows * CELL + 8, np.full(CELLS, CELL), np.full(CELLS, CELL)])
    weights = {
        "colours": (18 * np.eye(3) - 6).reshape(3, 3, 1, 1),
        "threshold": np.full(3, -6.0),
        "shifts": np.random.default_rng(0).normal(0, 0.5, (4, 3, 1, 1)),
        "cells": boxes[None],
        "to_boxes": np.array([0, 4, CELLS]),
        "to_scores": np.array([0, 3, CELLS]),
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Conv", ["means", "colours", "threshold"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["rated"]),
        helper.make_node("Reshape", ["rated", "to_scores"], ["scores"]),
        helper.make_node("Conv", ["means", "shifts"], ["moved"]),
        helper.make_node("Reshape", ["moved", "to_boxes"], ["away"]),
        helper.make_node("Add", ["away", "cells"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 7, CELLS])],
        [
            numpy_helper.from_array(array.astype(np.int64 if name.startswith("to_") else np.float32), name)
            for name, array in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = str(dict(enumerate(NAMES)))
    helper.set_model_props(model, {"author": "Ultralytics", "names": names, "imgsz": f"[{SIDE}, {SIDE}]"})
    onnx.save(model, str(path))
    return path


def draw_squares(folder: Path, split: str, count: int, seed: int) -> None:
    """Draw ``count`` images of one to three squares, with texts of boxes a little off, in Ultralytics' layout."""
    rng = np.random.default_rng((seed, count))
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(100, 140, (SIDE, SIDE, 3)).astype(np.uint8)
        lines = []
        for cell in rng.choice(CELLS, rng.integers(1, 4), replace=False):
            top, left = (CELL * int(part) for part in divmod(int(cell), SIDE // CELL))
            kind, light = int(rng.integers(3)), int(rng.integers(150, 256))
            pixels[top : top + CELL, left : left + CELL] = np.where(np.arange(3) == kind, light, 255 - light)
            box = np.array([left + 8, top + 8, CELL, CELL]) + rng.normal(0, 1.2, 4)
            lines.append(f"{kind} " + " ".join(f"{value:.6f}" for value in np.clip(box / SIDE, 0, 1)) + "\n")
        Image.fromarray(pixels).save(images / f"{number:03d}.png")
        (labels / f"{number:03d}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: [{', '.join(NAMES)}]\n")
