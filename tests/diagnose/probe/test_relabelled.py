"""A recipe's ``class_map`` in place of another numbering of the classes: told where the data set takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.data.sets.table import open_dataset
from modelport.diagnose.changes.labels import ORDER, label_changes
from modelport.diagnose.probe.relabelled import relabelled
from modelport.recipes.schema import Recipe

NAMES = ("pear", "apple", "fig", "plum")


def with_labels(tiny: Recipe, **changes: object) -> Recipe:
    update = {"classes": 4, "label_offset": 0, "names": None, "class_map": None, **changes}
    return tiny.model_copy(update={"dataset": tiny.dataset.model_copy(update=update)})


def data(folder: Path, labels: list[str]) -> Path:
    (folder / "val").mkdir(parents=True)
    names = [f"ILSVRC2012_val_{number + 1:08d}.JPEG" for number in range(len(labels))]
    for name in names:
        (folder / "val" / name).write_bytes(b"")
    text = "".join(f"{name} {label}\n" for name, label in zip(names, labels, strict=True))
    (folder / "val_label.txt").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("labels", "changes", "value", "wanted"),
    [
        (["0", "1", "2", "3"], {}, "turned round", {"0": 3, "1": 2, "2": 1, "3": 0}),
        (list(NAMES), {"names": NAMES}, "by name", {"pear": 2, "apple": 0, "fig": 1}),
        (["0", "one", "2", "3"], {"class_map": {"one": 1}}, "turned round", {"0": 3, "one": 2, "1": 2, "2": 1, "3": 0}),
    ],
)
def test_a_map_does_what_the_change_does(
    tiny: Recipe, tmp_path: Path, labels: list[str], changes: dict[str, object], value: str, wanted: dict[str, int]
) -> None:
    recipe, folder = with_labels(tiny, **changes), data(tmp_path / "data", labels)
    change = next(one for one in label_changes(recipe) if (one.kind, one.value) == (ORDER, value))
    samples = open_dataset(recipe, folder)
    mended = relabelled(recipe, change, samples, lambda made: open_dataset(made, folder))
    assert mended is not None and mended.dataset.class_map == wanted
    assert change.target is not None
    moved = [change.target(sample.target) for sample in samples]
    assert [sample.target for sample in open_dataset(mended, folder)] == moved != [one.target for one in samples]


def test_none_is_told_that_the_data_set_does_not_take(tiny: Recipe, tmp_path: Path) -> None:
    """Its labels are given as they are, whatever a recipe maps."""
    recipe = with_labels(tiny)
    samples = open_dataset(recipe, data(tmp_path / "data", ["0", "1", "2", "3"]))
    for change in label_changes(recipe):
        assert relabelled(recipe, change, samples, lambda made: samples) is None
