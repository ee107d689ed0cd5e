"""The data sets by the kind that a recipe names."""

from __future__ import annotations

from pathlib import Path

from modelport.data.imagenet import ImageNet, open_imagenet
from modelport.recipes.schema import Dataset

DATASETS = {"imagenet": open_imagenet}


def open_dataset(dataset: Dataset, folder: Path) -> ImageNet:
    """Return the validation samples in ``folder``. Raises DataError where it is not laid out as the kind says."""
    return DATASETS[dataset.kind](folder, classes=dataset.classes - dataset.label_offset)
