"""Recipes of the tasks whose labels are no single class, each with its drawn set and a tiny network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.recipes.toml import toml_text


@dataclass(frozen=True)
class Case:
    """A task, what is drawn for it, and what its recipe says of its own."""

    task: str
    drawn: str
    metrics: Sequence[str]
    size: tuple[int, int, int]  # channels, height, width
    output: Sequence[int]
    network: str
    dataset: dict[str, Any]
    tables: dict[str, Any]

    def write(self, path: Path, architecture: str | None = None) -> Path:
        """Write the recipe, of another ``architecture`` where one is given."""
        channels, height, width = self.size
        arguments = {"classes" if self.task == "text" else "outputs": self.output[-1]}
        content = {
            "schema": "modelport.recipe/1",
            "name": self.task,
            "task": self.task,
            "metrics": list(self.metrics),
            "preprocess": [
                {"step": "decode", "color": "L" if channels == 1 else "RGB", "exif_rotation": "ignore"},
                {"step": "resize", "width": width, "height": height, "interpolation": "bilinear"},
                {"step": "normalize", "divide": 255.0, "mean": [0.5], "std": [0.25]},
            ],
            "model": {
                "architecture": architecture or f"label_networks:{self.network}",
                "arguments": {} if architecture else arguments,
            },
            "tensors": {
                "inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", *self.size]}],
                "outputs": [{"name": "out", "dtype": "float32", "shape": ["batch", *self.output]}],
            },
            "dataset": self.dataset,
            **self.tables,
        }
        path.write_text(toml_text(content), encoding="utf-8")
        return path


CASES = {
    case.task: case
    for case in (
        Case(
            task="multilabel",
            drawn="multilabel",
            metrics=("multilabel_mAP", "multilabel_f1"),
            size=(3, 36, 48),
            output=(5,),
            network="Small",
            dataset={"kind": "table", "classes": 5},
            tables={"multilabel": {"activation": "sigmoid"}},
        ),
        Case(
            task="regression",
            drawn="numbers",
            metrics=("mae", "rmse", "r2"),
            size=(3, 36, 48),
            output=(3,),
            network="Small",
            dataset={"kind": "table", "columns": {"label": ["x", "y", "radius"]}},
            tables={},
        ),
        Case(
            task="text",
            drawn="text",
            metrics=("exact_match", "edit_distance", "cer"),
            size=(1, 16, 80),
            output=(20, 11),
            network="Reader",
            dataset={"kind": "table"},
            # Of 66 held-out texts one is more than a percent.
            tables={"text": {"characters": "0123456789", "blank": 0}, "tolerance": {"value": 10.0, "unit": "points"}},
        ),
        Case(
            task="embeddings",
            drawn="faces",
            metrics=("verification_accuracy", "tar_at_far_1e-3", "rank1", "retrieval_mAP"),
            size=(3, 32, 32),
            output=(48,),
            network="Small",
            dataset={"kind": "imagenet"},
            tables={},
        ),
    )
}
