"""Which class a folder is: told, numbered, published or guessed; and never guessed where two orders are likely."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from modelport.core.errors import DataError
from modelport.core.values import Sample
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_names import held_names
from modelport.data.sets.imagenet import ImageNet
from modelport.data.sets.images import ImageFiles
from modelport.data.sets.wordnet_ids import LABELS

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def opened(folder: Path, *names: str, classes: int | None = None, images: int = 1, **told: Any) -> ImageFiles:
    for name in names:
        (folder / "val" / name).mkdir(parents=True)
        for place in range(images):
            (folder / "val" / name / f"{place}.jpg").touch()
    return ImageNet().open(folder, Wanted("class", classes or len(names), **told), "val")


def labels(found: ImageFiles) -> dict[str, int]:
    return {sample.id.partition("/")[0]: sample.target for sample in found}


def test_number_words_sorted_as_text_are_refused(tmp_path: Path) -> None:
    """Sorted as text these are eight, five, four …: a model whose classes are 0 … 9 scored 10 % without a word."""
    with pytest.raises(DataError, match="eight comes before five, by their numbers after it") as caught:
        opened(tmp_path, *DIGITS)
    assert "dataset.names" in caught.value.fix and "dataset.class_map" in caught.value.fix


def test_number_words_that_the_model_or_a_map_names_are_those_classes(tmp_path: Path) -> None:
    found = opened(tmp_path, *DIGITS, names=DIGITS)
    assert labels(found) == {word: number for number, word in enumerate(DIGITS)} and not found.notes
    mapped = ImageNet().open(tmp_path, Wanted("class", 10, (), {word: 9 - n for n, word in enumerate(DIGITS)}), "val")
    assert labels(mapped) == {word: 9 - number for number, word in enumerate(DIGITS)}


def test_names_in_another_spelling_are_found_and_said(tmp_path: Path) -> None:
    found = opened(tmp_path, "Great_White shark", "hen", classes=5, names=("a", "hen", "great white shark", "d", "e"))
    assert labels(found) == {"Great_White shark": 2, "hen": 1}
    assert "another spelling: Great_White shark is great white shark" in found.notes[0]


def test_numbered_folders_are_numbers_where_the_model_has_other_names(tmp_path: Path) -> None:
    found = opened(tmp_path, "10", "2", "0", classes=11, names=tuple("abcdefghijk"))
    assert labels(found) == {"10": 10, "2": 2, "0": 0}


def test_a_map_may_number_wordnet_ids_of_a_part_of_the_classes(tmp_path: Path) -> None:
    found = opened(tmp_path, "n02110185", "n01440764", classes=1000, class_map={"n01440764": 0, "n02110185": 250})
    assert labels(found) == {"n01440764": 0, "n02110185": 250}


def test_the_folders_name_the_classes_where_they_are_no_numbers(tmp_path: Path) -> None:
    found = opened(tmp_path, "hen", "dog", classes=4, class_map={"hen": 3, "dog": 1})
    assert found.categories == ((0, ""), (1, "dog"), (2, ""), (3, "hen"))
    assert not opened(tmp_path / "numbers", "0", "1").categories


def test_a_part_of_imagenets_folders_keep_their_published_numbers(tmp_path: Path) -> None:
    """Imagenette's ten; their numbers as its authors publish them."""
    ten = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413")
    found = opened(tmp_path, *ten, "n03445777", "n03888257", classes=1000)
    assert list(labels(found).values()) == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]
    assert "10 of ImageNet's 1000 class folders" in found.notes[0]


def test_the_published_order_is_timms() -> None:
    spec = find_spec("timm")  # its file is enough: the package loads torchvision
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("timm is not installed")
    file = Path(spec.submodule_search_locations[0]) / "data" / "_info" / "imagenet_synsets.txt"
    assert list(LABELS) == file.read_text(encoding="utf-8").split()


@pytest.mark.parametrize(
    ("names", "classes", "told", "message"),
    [
        (("class1", "class2", "class10"), 3, {}, "class10 comes before class2, by their numbers after it"),
        (("n3", "n10", "n2"), 3, {}, "n10 comes before n2"),
        (("Three apples", "Two apples"), 2, {}, "Three apples comes before Two apples"),
        (("0", "1", "cat"), 3, {}, "class folder 0 is a number, cat is none"),
        (("n01440764", "n02110185", "dog"), 3, {}, "n01440764 is an id of WordNet, dog is none"),
        (("cat", "dog"), 3, {}, r"holds 2 class folders \(cat, dog\) for 3 classes, and nothing tells"),
        (("n01440764", "n02110185"), 999, {}, "holds 2 class folders .* for 999 classes"),
        (("n01440764", "n99999999"), 1000, {}, "holds 2 class folders .* for 1000 classes"),
        (("cat", "dgo"), 2, {"names": ("cat", "dog")}, "folder cat is named as a class of the model, dgo is not"),
        (("cat", "1"), 2, {"names": ("cat", "dog")}, "folder cat is named as a class of the model, 1 is not"),
        (("cat", "Cat"), 2, {"names": ("cat", "dog")}, "folders Cat and cat are both class 0"),
        (("cat", "x"), 2, {"names": ("cat", "dog"), "class_map": {"x": "cat"}}, "folders cat and x are both class 0"),
    ],
)
def test_no_order_is_guessed_where_another_is_likely(
    tmp_path: Path, names: tuple[str, ...], classes: int, told: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, *names, classes=classes, **told)
    assert str(tmp_path) in caught.value.found and caught.value.fix


@pytest.mark.parametrize(
    "names",
    [
        ("class01", "class02", "class10"),
        ("a1", "a-b", "a10"),
        ("one", "two"),
        ("3d_printer", "2_doors"),
        ("someone", "x"),
    ],
)
def test_names_whose_numbers_are_in_order_are_guessed(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = opened(tmp_path, *names)
    assert labels(found) == {name: label for label, name in enumerate(sorted(names))}
    assert "GUESS" in found.notes[0]


def test_odd_labels_of_folders_are_said(tmp_path: Path) -> None:
    found = opened(tmp_path / "one", "2", classes=4, images=3)
    assert any("all 3 images have the label 2" in note for note in found.notes)
    found = opened(tmp_path / "some", "0", "2", classes=4, images=6, names=("a", "b", "c", "d"))
    assert any("2 of 4 classes have no image: 1 (b), 3 (d)" in note for note in found.notes)


def test_a_label_file_may_name_classes(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for name in "ab":
        (tmp_path / "val" / f"{name}.jpg").touch()
    (tmp_path / "val_label.txt").write_text("a Hen\nb 0\n")
    found = ImageNet().open(tmp_path, Wanted("class", 2, ("cat", "hen")), "val")
    assert list(found) == [Sample(n, label, tmp_path / "val" / f"{n}.jpg") for n, label in (("a", 1), ("b", 0))]
    assert "another spelling: Hen is hen" in found.notes[0]


def test_names_of_the_data_are_held_against_the_recipes() -> None:
    assert held_names("x", ("cat", "dog"), ()) == held_names("x", ("Cat", "dog"), ("cat", "Dog")) == ()
    assert "label 1 is dog, in the recipe hen (1 differ)" in held_names("x", ("cat", "dog"), ("cat", "hen"))[0]
    with pytest.raises(DataError, match="label 0 is cat, in the recipe dog: the same names in another order"):
        held_names("x", ("cat", "dog"), ("dog", "cat"))


def test_the_folders_of_a_drawn_set_have_the_number_in_their_name(tmp_path: Path) -> None:
    found = opened(tmp_path, "n00000000", "n00000007", classes=1000)
    assert labels(found) == {"n00000000": 0, "n00000007": 7}
    with pytest.raises(DataError, match="nothing tells which"):
        opened(tmp_path / "others", "n00000007", "n01440765", classes=1000)
