"""The drawn pictures of the COCO-like sets with their boxes in other files: Ultralytics' texts, Pascal VOC's XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelport.data.drawn.coco import CATEGORIES, Picture, draw_splits

_INDEX = {number: index for index, (number, _) in enumerate(CATEGORIES)}
_NAME = dict(CATEGORIES)


def draw_yolo(
    out: Path, *, count: int = 24, train: int = 24, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw the pictures of ``draw_coco`` into ``images/`` with texts in ``labels/`` and ``data.yaml``; see there."""
    return draw_splits(_write_yolo, out, count=count, train=train, seed=seed, progress=progress)


def draw_voc(
    out: Path, *, count: int = 24, train: int = 24, seed: int = 0, progress: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Draw the pictures of ``draw_coco`` with files of Pascal VOC; see there."""
    return draw_splits(_write_voc, out, count=count, train=train, seed=seed, progress=progress)


def _write_yolo(folder: Path, split: str, pictures: Iterator[Picture]) -> int:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    boxes = 0
    for one in pictures:
        file = one.save(images)
        lines = (_yolo_line(thing, one.image.size) for thing in one.things)
        (labels / Path(file).with_suffix(".txt")).write_text("".join(lines), encoding="utf-8")
        boxes += len(one.things)
    names = "".join(f"  {index}: {name}\n" for index, (_, name) in enumerate(CATEGORIES))
    text = f"train: images/train\nval: images/val\nnames:\n{names}"
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return boxes


def _yolo_line(thing: dict[str, Any], size: tuple[int, int]) -> str:
    x, y, wide, high = thing["bbox"]
    shares = ((x + wide / 2) / size[0], (y + high / 2) / size[1], wide / size[0], high / size[1])
    return f"{_INDEX[thing['category_id']]} {' '.join(f'{share:.6f}' for share in shares)}\n"


def _write_voc(folder: Path, split: str, pictures: Iterator[Picture]) -> int:
    images, annotations, lists = (folder / name for name in ("JPEGImages", "Annotations", "ImageSets/Main"))
    for place in (images, annotations, lists):
        place.mkdir(parents=True, exist_ok=True)
    boxes, stems = 0, []
    for one in pictures:
        # The numbers of both splits overlap, and here all pictures lie in one folder.
        file = one.save(images)
        stem = f"{split}_{Path(file).stem}"
        (images / file).rename(images / f"{stem}.jpg")
        (annotations / f"{stem}.xml").write_text(_voc_text(f"{stem}.jpg", one), encoding="utf-8")
        boxes += len(one.things)
        stems.append(stem)
    (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return boxes


def _voc_text(file: str, one: Picture) -> str:
    """Return an annotation; VOC counts pixels from 1, and a box ends with its last pixel."""
    lines = [f"<annotation><filename>{file}</filename>"]
    lines.append(f"<size><width>{one.image.width}</width><height>{one.image.height}</height><depth>3</depth></size>")
    for thing in one.things:
        x, y, wide, high = map(int, thing["bbox"])
        corners = {"xmin": x + 1, "ymin": y + 1, "xmax": x + wide, "ymax": y + high}
        box = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
        name = _NAME[thing["category_id"]]
        lines.append(f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])
