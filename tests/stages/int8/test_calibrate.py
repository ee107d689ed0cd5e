"""Which images a model is quantized by."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelport.core.artifacts import digest_file
from modelport.core.errors import DataError, UsageError
from modelport.data.sets.table import open_dataset
from modelport.recipes.schema import Recipe
from modelport.stages.int8.calibrate import open_calibration, refuse_overlap
from modelport.tasks.classification.task import Classification


def _ids(samples: object) -> list[str]:
    return [sample.id for sample in samples]  # type: ignore[attr-defined]


def test_the_training_split_is_taken_and_a_third_is_held_out(tiny: Recipe, tiny_data: Path) -> None:
    found = open_calibration(tiny, tiny_data, 0)
    assert found.split == "train"
    assert found.labelled
    assert (len(found.ranges), len(found.held_out)) == (67, 33)
    assert not set(_ids(found.ranges)) & set(_ids(found.held_out))
    assert set(_ids(found.ranges) + _ids(found.held_out)) == set(_ids(open_dataset(tiny, tiny_data, "train")))
    for sample in found.ranges[:3]:
        assert found.digests[sample.id] == digest_file(sample.path)
    listed = found.to_json()
    assert listed["ranges"][0] == {"id": found.ranges[0].id, "sha256": found.digests[found.ranges[0].id]}


def test_the_seed_draws_and_the_number_is_bounded(
    tiny: Recipe, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classification, "calibration_images", 20)
    first, again, other = (open_calibration(tiny, tiny_data, seed) for seed in (0, 0, 1))
    assert (len(first.ranges), len(first.held_out)) == (20, 20)
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert any("only 20" in note for note in first.notes)


def test_a_flat_folder_has_no_labels(tiny: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    for file in sorted((tiny_data / "train" / "n00000001").iterdir())[:4]:
        shutil.copy(file, tmp_path)
    (tmp_path / "read.me").write_text("no image")
    found = open_calibration(tiny, tmp_path, 0)
    assert found.split == "unlabelled"
    assert not found.labelled
    assert len(found.ranges) + len(found.held_out) == 4


def test_class_folders_of_which_nothing_tells_the_classes_serve_without_labels(
    tiny: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    for place, file in enumerate(sorted((tiny_data / "train" / "n00000001").iterdir())[:4]):
        (tmp_path / "train" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "train" / "ab"[place % 2])
    found = open_calibration(tiny, tmp_path, 0)
    assert not found.labelled and len(found.ranges) + len(found.held_out) == 4
    assert any("labels are not used" in note and "2 class folders" in note for note in found.notes)


def test_what_is_no_data_set_is_refused(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_calibration(tiny, tmp_path / "none", 0)
    with pytest.raises(DataError, match="neither a data set"):
        open_calibration(tiny, tmp_path, 0)


def test_an_image_to_be_scored_is_found_by_its_content(tiny: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    scored = open_dataset(tiny, tiny_data)
    refuse_overlap(open_calibration(tiny, tiny_data, 0), scored)
    for file in sorted((tiny_data / "train" / "n00000001").iterdir())[:4]:
        shutil.copy(file, tmp_path)
    shutil.copy(scored[7].path, tmp_path / "renamed.jpeg")
    mixed = open_calibration(tiny, tmp_path, 0)
    with pytest.raises(UsageError, match=rf"{scored[7].id} is renamed\.jpeg"):
        refuse_overlap(mixed, scored)
    refuse_overlap(mixed, scored[:7])


def test_repeats_teach_nothing_and_are_left_out(tiny: Recipe, tiny_data: Path, tmp_path: Path) -> None:
    one, *others = sorted((tiny_data / "train" / "n00000001").iterdir())[:4]
    for number in range(40):
        shutil.copy(one, tmp_path / f"again_{number}{one.suffix}")
    for file in others:
        shutil.copy(file, tmp_path)
    found = open_calibration(tiny, tmp_path, 0)
    used = [found.digests[sample.id] for sample in (*found.ranges, *found.held_out)]
    assert len(used) == len(set(used)) == 4
    assert any("39 calibration images" in note for note in found.notes)
    assert any("only 3 calibration images" in note for note in found.notes)
    # Most of what was given is one picture.
    assert found.check.verdict == "inconclusive" and "43 calibration images have 4" in found.check.why


@pytest.mark.parametrize(("contents", "each", "word"), [(1, 1, "inconclusive"), (2, 1, "pass"), (3, 2, "pass")])
def test_images_of_one_content_cannot_carry_a_verdict(
    tiny: Recipe, tiny_data: Path, tmp_path: Path, contents: int, each: int, word: str
) -> None:
    for file in sorted((tiny_data / "train" / "n00000001").iterdir())[:contents]:
        for number in range(each):
            shutil.copy(file, tmp_path / f"{number}_{file.name}")
    assert open_calibration(tiny, tmp_path, 0).check.verdict == word
