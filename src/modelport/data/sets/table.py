"""The data sets by the kind that a recipe names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from modelport.core.values import DataSet
from modelport.data.sets.cifar10 import open_cifar10
from modelport.data.sets.coco import open_coco
from modelport.data.sets.imagenet import open_imagenet
from modelport.data.sets.unlabelled import open_images
from modelport.recipes.tables import Dataset

DATASETS: dict[str, Callable[..., DataSet]] = {
    "imagenet": open_imagenet,
    "cifar10": open_cifar10,
    "coco": open_coco,
    "images": open_images,
}


def open_dataset(dataset: Dataset, folder: Path, split: Literal["val", "train"] = "val") -> DataSet:
    """Return the samples of a split in ``folder``. Raises DataError where it is not laid out as the kind says."""
    opener = DATASETS[dataset.kind]
    labels = None if dataset.classes is None else dataset.classes - dataset.label_offset
    return opener(folder, classes=labels, split=split)
