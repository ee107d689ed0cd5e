"""The images that a model is quantized by: never those that are scored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import digest_bytes, digest_json
from modelport.core.errors import DataError, UsageError
from modelport.core.values import Batch, Check, DataSet, Sample
from modelport.data.sets.images import open_unlabelled
from modelport.data.sets.table import open_dataset
from modelport.data.sets.unlabelled import open_images
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of
from modelport.verdict.soundness import CALIBRATION
from modelport.verdict.words import INCONCLUSIVE, PASS

# Fewer tell little of the ranges that real images have.
FEW = 32
NAMED = 5
# Contents below which nothing varies: of one picture the ranges are its own.
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Images to find ranges on, and others to see what was lost; drawn with a seed from what was given."""

    recipe: Recipe
    folder: Path
    split: str  # what of the folder was used: train, val or unlabelled
    ranges: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    digests: dict[str, str]  # sha256 of the content by id
    repeats: int = 0  # images met that have the content of another, and were left out
    categories: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether the images have labels to be held against."""
        return self.split != "unlabelled"

    @property
    def check(self) -> Check:
        """Whether the images differ: of one content, or where most are repeats, int8 was fitted to less than it seems.

        What was given as many images and is a few may be a mistake of whoever gathered them.
        """
        distinct = len(self.digests)
        met = distinct + self.repeats
        if distinct >= FEWEST and self.repeats <= distinct:
            return Check(CALIBRATION, PASS, distinct, met, "the calibration images differ")
        why = f"{met} calibration images have {distinct} different contents: ranges from so few tell little of others; "
        return Check(CALIBRATION, INCONCLUSIVE, distinct, met, why + "calibrate on images that differ")

    @property
    def digest(self) -> str:
        """sha256 of which content serves for what."""
        used = [[self.digests[sample.id] for sample in part] for part in (self.ranges, self.held_out)]
        return digest_json([*used, self.labelled])

    def batches(self, samples: Sequence[Sample], form: Build, seed: int) -> Generator[Batch, None, None]:
        """Return batches of some of the images, preprocessed as those that are scored. Leave it through ``closing``.

        ``form`` holds the graph's form of the recipe, pixels or not, and the batch.
        """
        assert form.batch is not None
        pixels = form.needed_recipe.tensors.sample.dtype == "uint8"
        return feed(self.recipe, samples, form.batch, seed=seed, pixels=pixels)

    def to_json(self) -> dict[str, Any]:
        """Return what the result says of the images: id and sha256 of each."""

        def listed(samples: Sequence[Sample]) -> list[dict[str, str]]:
            return [{"id": sample.id, "sha256": self.digests[sample.id]} for sample in samples]

        return {
            "folder": str(self.folder),
            "split": self.split,
            "ranges": listed(self.ranges),
            "held_out": listed(self.held_out),
        }


def open_calibration(recipe: Recipe, folder: Path, seed: int) -> Calibration:
    """Choose the images of ``folder``: its training split, else its validation split, else the images in it.

    Two thirds find the ranges, at most as many as the task asks for; at most as many of the rest are held out, to
    measure what is lost.
    Raises DataError where the folder holds nothing of the kind.
    """
    if not folder.is_dir():
        raise DataError(f"--calibration {folder}: no such folder", "give a data set, or a folder of images")
    pool, split, notes = _found(recipe, folder)
    order = [pool[int(index)] for index in np.random.default_rng(seed).permutation(len(pool))]
    most = task_of(recipe).calibration_images
    unique, digests, repeats = _each_once(order, 2 * most)
    if repeats:
        notes = (*notes, f"{repeats} calibration images have the content of another and were left out")
    count = min(most, -(-len(unique) * 2 // 3))
    ranges, held_out = tuple(unique[:count]), tuple(unique[count : count + most])
    if len(ranges) < FEW:
        notes = (*notes, f"only {len(ranges)} calibration images: ranges may be too narrow; {most} are usual")
    categories = getattr(pool, "categories", ())
    return Calibration(recipe, folder, split, ranges, held_out, digests, repeats, categories, notes)


def _each_once(samples: Sequence[Sample], enough: int) -> tuple[list[Sample], dict[str, str], int]:
    """Return the first ``enough`` samples of different content, the sha256 of each, and how many repeats were met."""
    unique, digests, seen, repeats = list[Sample](), dict[str, str](), set[str](), 0
    for sample in samples:
        if len(unique) == enough:
            break
        digest = digest_bytes(sample.read())
        if digest in seen:
            repeats += 1
            continue
        seen.add(digest)
        unique.append(sample)
        digests[sample.id] = digest
    return unique, digests, repeats


def refuse_overlap(calibration: Calibration, scored: Iterable[Sample]) -> None:
    """Raise UsageError, naming them, where a scored sample has the content of a calibration image.

    A file is read only where its size is that of a calibration image: fifty thousand need not be.
    """
    known = {calibration.digests[sample.id]: sample for sample in (*calibration.ranges, *calibration.held_out)}
    sizes = {_size(sample) for sample in known.values()}
    met = []
    for sample in scored:
        try:
            if _size(sample) in sizes and (mine := known.get(digest_bytes(sample.read()))):
                met.append(f"{sample.id} is {mine.id}")
        except (OSError, DataError):
            continue  # whoever scores it says so
    if met:
        more = f" … ({len(met)} in all)" if len(met) > NAMED else ""
        raise UsageError(
            f"--calibration {calibration.folder}: images to be scored are among those to calibrate on: "
            f"{', '.join(met[:NAMED])}{more}",
            "calibrate on other images, such as the training split: scores on these would flatter",
        )


def _size(sample: Sample) -> int:
    return len(sample.content) if sample.content is not None else sample.path.stat().st_size


def _found(recipe: Recipe, folder: Path) -> tuple[DataSet | Sequence[Sample], str, tuple[str, ...]]:
    said = []
    for split in ("train", "val"):
        try:
            dataset = open_dataset(recipe, folder, split=split)
        except DataError as error:
            said.append(f"{split}: {error.found}")
        else:
            if not recipe.dataset.labelled:
                return dataset, "unlabelled", (_unlabelled(len(dataset), folder), *dataset.notes)
            notes = [f"calibrated on the {'training' if split == 'train' else 'validation'} split of {folder}"]
            return dataset, split, (*notes, *dataset.notes)
    with suppress(DataError):
        images = open_unlabelled(folder)
        return images, "unlabelled", (_unlabelled(len(images), folder),)
    # Class folders of which nothing tells the classes: ranges need no labels.
    place = folder / "train" if (folder / "train").is_dir() else folder
    try:
        below = open_images(place)
    except DataError as error:
        raise DataError(
            f"--calibration {folder}: neither a data set of the recipe's kind nor images ({'; '.join(said)})",
            error.fix,
        ) from error
    return below, "unlabelled", (_unlabelled(len(below), place), f"labels are not used: {said[0]}")


def _unlabelled(count: int, folder: Path) -> str:
    return f"calibrated on {count} images without labels in {folder}"
