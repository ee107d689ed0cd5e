"""What a kind of data set is: how its files are laid out, and what its labels can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelport.core.errors import DataError, UsageError
from modelport.core.values import DataSet, LabelForm
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Columns

Split = Literal["val", "train"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recipe wants of a data set's labels."""

    form: LabelForm
    classes: int | None = None
    """Labels that there are: one is 0 … ``classes - 1``. None: labels are no classes, or their number is not told."""
    names: tuple[str, ...] = ()
    """Of the classes, by label; empty where the recipe does not tell them."""
    class_map: Mapping[str, int | str] = field(default_factory=dict)
    """What the data set calls a class → the label, or one of ``names``."""
    columns: Columns | None = None
    """Which columns of a table are read, where the recipe tells."""

    @staticmethod
    def of(recipe: Recipe) -> Wanted:
        """Return what a recipe wants."""
        dataset = recipe.dataset
        classes = None if dataset.classes is None else dataset.classes - dataset.label_offset
        names = tuple(dataset.names or ())
        return Wanted(recipe.label_form, classes, names, dataset.class_map or {}, dataset.columns)

    @property
    def known(self) -> int:
        """How many classes there are. Raises DataError where the recipe does not tell."""
        if self.classes is None:
            raise DataError("the labels are classes, and the recipe does not tell how many", "give dataset.classes")
        return self.classes


class DataKind:
    """One kind of data set: a class here, and a line in ``data.sets.table``. Its files are read without running any."""

    forms: tuple[LabelForm, ...] = ()
    """What its labels can be; none where it has no labels."""

    def open(self, folder: Path, wanted: Wanted, split: Split) -> DataSet:
        """Return the samples of a split that ``folder`` holds. Raises DataError, naming file and line."""
        raise NotImplementedError

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder is laid out as this kind alone is; its content need not be sound."""
        return False

    def are_labels(self, path: Path) -> bool:
        """Whether a file or folder (``--labels``) looks like this kind's labels; its content need not be sound."""
        return False

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> DataSet:
        """Return the images of a folder with labels that lie elsewhere. Raises DataError, naming file and line."""
        raise UsageError(f"--labels {labels}: no labels of this kind are read from there", "give --data DIR")
