"""Small data sets, and the tiny model as a graph: what the tests of single steps share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import Exported


@pytest.fixture(scope="module")
def flat(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images in a flat folder, with a label file."""
    folder = tmp_path_factory.mktemp("flat")
    (folder / "val").mkdir()
    lines = (tiny_data / "val_label.txt").read_text().splitlines()[:11]
    (folder / "val_label.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        shutil.copy(tiny_data / "val" / line.split()[0], folder / "val")
    return folder


@pytest.fixture(scope="module")
def classed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders by their numbers: three and two images, one name with dots in it."""
    folder = tmp_path_factory.mktemp("classed")
    images = sorted((tiny_data / "val").iterdir())[:5]
    for image, place in zip(images, ("0/a", "0/b.c", "0/d", "1/e", "1/f"), strict=True):
        (folder / "val" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / "val" / f"{place}.jpeg")
    return folder


@pytest.fixture(scope="module")
def tiny_onnx(exported_tiny: Exported) -> Path:
    return exported_tiny()[0].path
