"""A folder of images without labels, nested or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.core.errors import DataError, RecipeError
from modelport.data.sets.table import open_dataset
from modelport.data.sets.unlabelled import open_images
from modelport.recipes.load import parse_recipe

OUTPUTS = """
schema = "modelport.recipe/1"
name = "x"
task = "outputs"
metrics = ["cosine"]
preprocess = "yolo/letterbox320"
tensors.inputs = [{ name = "i", dtype = "float32", shape = ["batch", 3, 320, 320] }]
tensors.outputs = [{ name = "o", dtype = "float32", shape = ["batch", 2] }]
dataset.kind = "images"
"""


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_images_of_all_folders_by_their_paths(tmp_path: Path) -> None:
    _touch(tmp_path, "b.png", "a/z.JPG", "a/b/c.webp", "a.jpg", "notes.txt", ".hidden.png", ".git/x.png", "a/.x/y.png")
    found = open_images(tmp_path)
    assert [sample.id for sample in found] == ["a", "a/b/c", "a/z", "b"] and not found.notes
    assert all(sample.target is None for sample in found)
    assert [sample.read().decode() for sample in found] == ["a.jpg", "a/b/c.webp", "a/z.JPG", "b.png"]


def test_no_two_samples_have_one_id(tmp_path: Path) -> None:
    _touch(tmp_path, "a/x.png", "a/x.jpg", "y.png")
    found = open_images(tmp_path)
    assert [sample.id for sample in found] == ["a/x.jpg", "a/x.png", "y.png"]
    assert "differ in their suffix alone" in found.notes[0]


def test_what_is_no_such_folder_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "notes.txt", "deep/more.txt")
    with pytest.raises(DataError, match="holds no images, nor does any folder in it"):
        open_images(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is a file, not a folder"):
        open_images(tmp_path / "notes.txt")
    (tmp_path / "deep" / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    with pytest.raises(DataError, match="the name is not UTF-8"):
        open_images(tmp_path)


def test_the_kind_needs_no_number_of_classes_and_has_no_training_split(tmp_path: Path, tiny_path: Path) -> None:
    _touch(tmp_path, "x.png")
    images = parse_recipe(OUTPUTS, "x.toml")
    assert len(open_dataset(images, tmp_path)) == 1 and not images.dataset.labelled
    with pytest.raises(DataError, match="no training split"):
        open_dataset(images, tmp_path, split="train")
    text = tiny_path.read_text(encoding="utf-8").replace("classes = 10\n", "")
    with pytest.raises(RecipeError, match=r"labels of imagenet are held against classes"):
        parse_recipe(text, "x.toml")
