"""The kinds of data set by the name that a recipe gives."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from modelport.core.errors import UsageError
from modelport.core.values import DataSet, LabelForm
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.recipes.schema import Recipe

# A kind is one line here; its module is imported when a recipe names it.
KINDS: dict[str, str] = {
    "imagenet": "modelport.data.sets.imagenet:ImageNet",
    "cifar10": "modelport.data.sets.cifar10:Cifar10Kind",
    "table": "modelport.data.sets.label_table:LabelTable",
    "arrays": "modelport.data.sets.arrays:Arrays",
    "coco": "modelport.data.sets.coco:Coco",
    "yolo": "modelport.data.sets.yolo:Yolo",
    "voc": "modelport.data.sets.voc:Voc",
    "masks": "modelport.data.sets.masks:Masks",
    "images": "modelport.data.sets.unlabelled:Unlabelled",
}


def kind_of(name: str) -> DataKind:
    """Return the kind of a name that the recipe's schema has held to be one."""
    kind: DataKind = resolve_name(KINDS[name])()
    return kind


def kind_names() -> list[str]:
    """Return the names that ``dataset.kind`` can be, as the schema asks for them."""
    return list(KINDS)


def forms_of(name: str) -> tuple[LabelForm, ...]:
    """Return what labels of a kind can be, as the schema asks for it; none where it has no labels."""
    return kind_of(name).forms


def open_dataset(recipe: Recipe, folder: Path, split: Split = "val") -> DataSet:
    """Return the samples of a split in ``folder``. Raises DataError where it is not laid out as the kind says."""
    return kind_of(recipe.dataset.kind).open(folder, Wanted.of(recipe), split)


def open_labelled(recipe: Recipe, images: Path, labels: Path) -> DataSet:
    """Return the images of a folder with labels that lie elsewhere, in the form that the recipe's task takes.

    The recipe's own kind is asked first whether it knows such labels, then every other. Raises UsageError where none
    does, DataError.
    """
    wanted = Wanted.of(recipe)
    for name in dict.fromkeys((recipe.dataset.kind, *KINDS)):
        kind = kind_of(name)
        if wanted.form in kind.forms and kind.are_labels(labels):
            return kind.open_labelled(images, labels, wanted)
    found = "does not exist" if not labels.exists() else f"holds no labels that the task {recipe.task} takes"
    raise UsageError(f"--labels {labels} {found}", "docs/data.md lists the forms of label files")
