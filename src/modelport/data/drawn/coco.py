"""Small COCO-like sets, drawn: street and garden things of eight of COCO's categories, with their true boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from modelport.core.errors import UsageError
from modelport.data.drawn.coco_shapes import POINTS, shapes
from modelport.data.drawn.coco_things import THINGS, draw_thing
from modelport.data.drawn.common import develop, drawn_into, scene

# COCO's 80 categories by the ids of the published files, which leave out eleven of 90.
_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,backpack,umbrella,,,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
CATEGORIES = tuple((number, name) for number, name in enumerate(_NAMES.split(","), start=1) if name)

# Streams of one seed: no picture of one is a picture of another.
_VAL, _TRAIN = 0, 1
_MAX_COUNT = 5000
# Width and height as COCO's photographs have them: the longer side is 640 for most.
_SIZES = ((640, 480), (640, 480), (640, 427), (480, 640), (427, 640), (640, 640), (500, 375), (612, 408))
# Longer sides of things: COCO's small, medium and large are parted at areas of 32² and 96².
_SIDES = ((22, 40), (48, 100), (130, 230))
# Ids as COCO numbers its images: rising, with gaps.
_FIRST_ID, _LARGEST_GAP = 139, 240


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawn picture with its things: ``category_id``, ``bbox`` (x, y, width, height), ``area``, in pixels."""

    number: int
    image: Image.Image
    quality: int  # of the JPEG
    things: list[dict[str, Any]]

    def save(self, folder: Path) -> str:
        """Write the picture into a folder and return the file's name."""
        file = f"{self.number:012d}.jpg"
        self.image.save(folder / file, "JPEG", quality=self.quality)
        return file


def draw_coco(
    out: Path,
    *,
    count: int = 24,
    train: int = 24,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Draw ``count`` validation and ``train`` training pictures with their annotations into the new folder ``out``.

    Writes ``val2017/``, ``train2017/`` and ``annotations/instances_*2017.json``; equal arguments give equal files.
    ``progress`` is called for each picture drawn. Returns what was drawn, as JSON values. Raises
    UsageError for counts that make no set, OutputError where ``out`` holds something or cannot be written; then and
    when it is interrupted, no half set is left in ``out``.
    """
    return draw_splits(_write_coco, out, count=count, train=train, seed=seed, progress=progress)


def draw_splits(
    write: Callable[[Path, str, Iterator[Picture]], int],
    out: Path,
    *,
    count: int,
    train: int,
    seed: int,
    progress: Callable[[], None],
) -> dict[str, Any]:
    """Draw both splits, each written by ``write(folder, split, pictures)``, which returns its boxes; see draw_coco."""
    _check(count, train, seed)
    with drawn_into(out) as folder:
        boxes = write(folder, "val", _pictures(count, (seed, _VAL), progress))
        train_boxes = write(folder, "train", _pictures(train, (seed, _TRAIN), progress))
    told: dict[str, Any] = {"out": str(out), "val": count, "train": train, "classes": len(THINGS), "seed": seed}
    return told | {"boxes": boxes, "train_boxes": train_boxes}


def _check(count: int, train: int, seed: int) -> None:
    for what, number in (("--count", count), ("count of training pictures", train)):
        if not 1 <= number <= _MAX_COUNT:
            raise UsageError(f"a {what} of {number}", f"give between 1 and {_MAX_COUNT}")
    if seed < 0:
        raise UsageError(f"a seed of {seed}", "give a --seed of at least 0")


def _pictures(count: int, key: tuple[int, int], progress: Callable[[], None]) -> Iterator[Picture]:
    numbers = _FIRST_ID + np.cumsum(np.random.default_rng(key).integers(1, _LARGEST_GAP, count)) - 1
    for place, number in enumerate(numbers.tolist()):
        rng = np.random.default_rng((*key, place))
        image, things = _draw(place, rng)
        yield Picture(number, image, int(rng.integers(80, 96)), things)
        progress()


def _write_coco(folder: Path, split: str, pictures: Iterator[Picture]) -> int:
    """Write one split with its annotations; return how many boxes it holds."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / f"{split}2017").mkdir(parents=True)
    for one in pictures:
        file, image = one.save(folder / f"{split}2017"), one.image
        images.append({"id": one.number, "file_name": file, "width": image.width, "height": image.height})
        for thing in one.things:
            annotations.append({"id": len(annotations) + 1, "image_id": one.number, "iscrowd": 0, **thing})
    value = {
        "info": {"description": "drawn by modelport: no photographs", "version": "1.0", "year": 2017},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "keypoints": POINTS} for number, name in CATEGORIES],
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(value), encoding="utf-8")
    return len(annotations)


def _draw(place: int, rng: np.random.Generator) -> tuple[Image.Image, list[dict[str, Any]]]:
    """Return a picture and its things: category_id, bbox, area, segmentation, keypoints, num_keypoints."""
    width, height = _SIZES[rng.integers(len(_SIZES))]
    ground = scene(float(rng.random()), rng).resize((width, height), Image.Resampling.BICUBIC)
    # Paler than the things, whose colours are what they are known by.
    image = Image.blend(ground, ground.convert("L").convert("RGB"), 0.6)
    sides = [_SIDES[size] for size in (2, *rng.integers(0, 3, rng.integers(2, 6)).tolist())]
    # The first goes round all things, so that every one is drawn whatever the number of pictures.
    kinds = [place % len(THINGS), *rng.integers(0, len(THINGS), len(sides) - 1).tolist()]
    found: list[dict[str, Any]] = []
    # The largest first: the small ones find a gap more easily.
    for kind, side in sorted(zip(kinds, sides, strict=True), key=lambda pair: -pair[1][0]):
        thing = THINGS[kind]
        sticker = draw_thing(thing, int(rng.integers(*side)), rng)
        corner = free_corner(sticker.size, (width, height), found, rng)
        if corner is not None:
            paste(image, sticker, corner, rng)
            solid = np.asarray(sticker.getchannel("A")) >= 128
            box = [*map(float, corner), *map(float, sticker.size)]
            about = {"category_id": thing.category, "bbox": box, "area": float(solid.sum())}
            found.append(about | shapes(solid, corner, (width, height)))
    return develop(image, rng), found


def free_corner(
    size: tuple[int, int], room: tuple[int, int], found: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return a corner where the thing touches no other, None where none was found."""
    for _ in range(40):
        x, y = (int(rng.integers(2, whole - own - 2)) for own, whole in zip(size, room, strict=True))
        boxes = (thing["bbox"] for thing in found)
        if all(
            x + size[0] < left or y + size[1] < top or x > left + wide or y > top + high
            for left, top, wide, high in boxes
        ):
            return x, y
    return None


def paste(image: Image.Image, sticker: Image.Image, corner: tuple[int, int], rng: np.random.Generator) -> None:
    """Put a thing with its shadow onto the picture, in a light of its own."""
    alpha = sticker.getchannel("A")
    reach = max(2, max(sticker.size) // 24)
    shadow = Image.new("L", (alpha.width + 4 * reach, alpha.height + 4 * reach))
    shadow.paste(alpha, (2 * reach, 2 * reach))
    shadow = shadow.filter(ImageFilter.GaussianBlur(reach)).point([value // 3 for value in range(256)])
    image.paste((12, 14, 18), (corner[0] - reach, corner[1] - reach), shadow)
    light = float(rng.uniform(0.85, 1.05))
    lit: NDArray[np.float32] = np.asarray(sticker.convert("RGB"), np.float32) * light
    image.paste(Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)), corner, alpha)
