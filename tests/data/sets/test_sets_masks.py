"""Images with masks: every layout is read alike, and what is wrong is named with its file."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelport.core.errors import DataError
from modelport.core.values import MAX_SAMPLE_BYTES, Mask
from modelport.data.sets import masks as masks_module
from modelport.data.sets.base import Split, Wanted
from modelport.data.sets.mask_files import MaskFile
from modelport.data.sets.masks import Masks

WANTED = Wanted("mask", 5)


def image(path: Path, size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 99, 199)).save(path)
    return path


def mask(path: Path, size: tuple[int, int] = (12, 8), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def opened(folder: Path, split: Split = "val") -> list[tuple[str, str]]:
    found = Masks().open(folder, WANTED, split)
    return [(sample.id, sample.target.path.name) for sample in found]


LAYOUTS = {
    "flat": ("images/{}", "masks/{}"),
    "split first": ("val/images/{}", "val/masks/{}"),
    "split last": ("images/val/{}", "masks/val/{}"),
    "ADE20K": ("images/validation/{}", "annotations/validation/{}"),
    "VOC": ("JPEGImages/{}", "SegmentationClass/{}"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read(name: str, tmp_path: Path) -> None:
    pictures, truths = LAYOUTS[name]
    for stem in ("b", "a"):
        image(tmp_path / pictures.format(f"{stem}.jpg"))
        mask(tmp_path / truths.format(f"{stem}.png"))
    if name == "VOC":
        image(tmp_path / pictures.format("c.jpg"))
        lists = tmp_path / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "val.txt").write_text("b\na\n")
    assert opened(tmp_path) == [("a", "a.png"), ("b", "b.png")]
    assert Masks().open(tmp_path, WANTED, "val").notes == ()
    with pytest.raises(DataError, match="train"):
        opened(tmp_path, "train")


def test_the_training_split_is_another(tmp_path: Path) -> None:
    for split in ("train", "val"):
        image(tmp_path / split / "images" / f"{split}.jpg")
        mask(tmp_path / split / "masks" / f"{split}.png")
    assert opened(tmp_path) == [("val", "val.png")]
    assert opened(tmp_path, "train") == [("train", "train.png")]


def test_masks_for_a_part_are_said(tmp_path: Path) -> None:
    for stem in "abcde":
        image(tmp_path / "images" / f"{stem}.jpg")
    mask(tmp_path / "masks" / "b.png")
    found = Masks().open(tmp_path, WANTED, "val")
    assert [sample.id for sample in found] == ["b"]
    assert "4 of 5 images have no mask and are left out: a.jpg, c.jpg, d.jpg … (4 in all)" in found.notes[0]


def test_labels_lie_elsewhere(tmp_path: Path) -> None:
    image(tmp_path / "here" / "a.jpg")
    mask(tmp_path / "there" / "a.png")
    kind = Masks()
    assert kind.are_labels(tmp_path / "there") and not kind.are_labels(tmp_path / "here")
    found = kind.open_labelled(tmp_path / "here", tmp_path / "there", WANTED)
    assert [(sample.id, sample.target.path.name) for sample in found] == [("a", "a.png")]


@pytest.mark.parametrize(
    ("mode", "values"),
    [("L", [0, 4, 255]), ("P", [0, 4, 255]), ("1", [0, 1, 1]), ("I;16", [0, 300, 65535])],
)
def test_numbers_are_read_as_they_are(mode: str, values: list[int], tmp_path: Path) -> None:
    array = np.array([values, values[::-1]])
    path = tmp_path / "m.png"
    if mode == "P":
        picture = Image.fromarray(array.astype(np.uint8))
        picture.putpalette([(7 * place) % 256 for place in range(768)])
    else:
        kinds = {"L": np.uint8, "1": np.bool_, "I;16": np.uint16}
        picture = Image.fromarray(array.astype(kinds[mode]))
    assert picture.mode == mode
    picture.save(path)
    found: Mask = MaskFile(path)
    assert found.read().dtype == np.uint16
    np.testing.assert_array_equal(found.read(), array)


def test_pngs_of_few_bits_are_read(tmp_path: Path) -> None:
    """Palettes of 16 colours are written with 4 bits a pixel."""
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(array)
    picture.putpalette(list(range(48)))
    picture.save(tmp_path / "m.png", bits=4)
    np.testing.assert_array_equal(MaskFile(tmp_path / "m.png").read(), array)


def _two(folder: Path) -> None:
    for stem in "ab":
        image(folder / "images" / f"{stem}.jpg")
        mask(folder / "masks" / f"{stem}.png")


def _without(folder: Path, stem: str) -> Path:
    """Take a mask away; returns where it is then."""
    return (folder / "masks" / f"{stem}.png").rename(folder / f"{stem}.png")


def _emptied(folder: Path) -> None:
    for path in (*folder.glob("images/*"), *folder.glob("masks/*")):
        path.unlink()


def _list(folder: Path, text: str) -> None:
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(text)


def _huge(folder: Path) -> None:
    """A header that names more pixels than any image has."""
    path = folder / "masks" / "a.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "another size": (
        lambda folder: mask(folder / "masks" / "a.png", (12, 9)),
        r"masks/a.png: the mask is 12 × 9, its image .*images/a.jpg is 12 × 8",
    ),
    "colours": (lambda folder: mask(folder / "masks" / "b.png", mode="RGB"), r"masks/b.png: is of colours \(mode RGB"),
    "a mask without image": (lambda folder: mask(folder / "masks" / "z.png"), "masks holds z.png, and .*no such image"),
    "JPEG masks": (
        lambda folder: [_without(folder, one).rename(folder / "masks" / f"{one}.jpg") for one in "ab"],
        "masks holds a.jpg, b.jpg, and no PNG",
    ),
    "no mask of any": (
        lambda folder: [_without(folder, one) for one in "ab"],
        "holds no mask of any image",
    ),
    "no PNG at all": (
        lambda folder: (folder / "masks" / "a.png").write_text("text"),
        r"masks/a.png: cannot be decoded: no PNG$",
    ),
    "a bomb": (_huge, r"masks/a.png: cannot be decoded: Image size \(3600000000 pixels\) exceeds limit"),
    "two images of one name": (lambda folder: image(folder / "images" / "a.png"), "one name but for the suffix"),
    "two pairs of folders": (
        lambda folder: mask(folder / "labels" / "a.png"),
        "holds images/ with masks/, images/ with labels/",
    ),
    "a name twice": (lambda folder: _list(folder, "a\nb\n\na\n"), r"val.txt line 4: a stands in line 1 already"),
    "a name of nothing": (lambda folder: _list(folder, "a\nzz\n"), r"val.txt line 2: .*images holds no image 'zz'"),
    "an empty list": (lambda folder: _list(folder, "\n"), r"val.txt lists no images"),
    "no images": (_emptied, r"images holds no images"),
    "a name that is no text": (
        lambda folder: image(folder / "images" / b"\xff.jpg".decode("utf-8", "surrogateescape")),
        "the name is not UTF-8",
    ),
    "no folders": (
        lambda folder: [(folder / "images").rename(folder / "i"), (folder / "masks").rename(folder / "m")],
        "holds no images with masks",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    _two(tmp_path)
    assert len(Masks().open(tmp_path, WANTED, "val")) == 2
    spoil, message = WRONG[name]
    spoil(tmp_path)
    with pytest.raises(DataError, match=message.removesuffix("$")) as caught:
        Masks().open(tmp_path, WANTED, "val")
    assert caught.value.fix and "on-bad-image" not in caught.value.fix


def test_a_mask_is_refused_when_it_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many pairs some headers alone are held against each other when a set is opened."""
    _two(tmp_path)
    monkeypatch.setattr(masks_module, "MOST_HEADERS", 1)
    mask(tmp_path / "masks" / "b.png", mode="RGB")
    found = Masks().open(tmp_path, WANTED, "val")
    for spoil, message in (
        (lambda path: None, "is of colours"),
        (lambda path: mask(path).write_bytes(path.read_bytes()[:45]), "cannot be decoded"),
        (lambda path: path.unlink(), "No such file"),
    ):
        spoil(tmp_path / "masks" / "b.png")
        with pytest.raises(DataError, match=message) as caught:
            found[1].target.read()
        assert "b.png" in caught.value.found and "on-bad-image" not in caught.value.fix
    with (tmp_path / "masks" / "b.png").open("wb") as stream:
        stream.truncate(MAX_SAMPLE_BYTES + 1)
    with pytest.raises(DataError, match="more than the"):
        found[1].target.read()


def test_a_mask_may_lie_as_its_image_is_stored(tmp_path: Path) -> None:
    """Whether EXIF turns the image is the recipe's to say, so that both are taken here and one when it is scored."""
    _two(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "images" / "a.jpg", exif=exif)
    for size in ((12, 8), (8, 12)):
        mask(tmp_path / "masks" / "a.png", size)
        assert len(Masks().open(tmp_path, WANTED, "val")) == 2
