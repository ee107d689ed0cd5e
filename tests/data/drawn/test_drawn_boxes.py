"""Drawn sets of boxes hold the same things in the files of three kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.data.drawn.coco import CATEGORIES
from modelport.data.drawn.table import DRAWN
from modelport.data.sets.base import Wanted
from modelport.data.sets.table import kind_of

NAMES = tuple(name for _, name in CATEGORIES)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("drawn")
    for kind in ("coco", "yolo", "voc"):
        DRAWN[kind].draw(folder / kind, count=2, train=1, seed=3)
    return {kind: folder / kind for kind in ("coco", "yolo", "voc")}


@pytest.mark.parametrize("kind", ["yolo", "voc"])
@pytest.mark.parametrize("split", ["val", "train"])
def test_the_same_things_are_annotated_as_in_the_coco_like_set(drawn: dict[str, Path], kind: str, split: str) -> None:
    wanted = Wanted("boxes", 80, NAMES)
    right, data = (kind_of(name).open(drawn[name], wanted, split) for name in ("coco", kind))  # type: ignore[arg-type]
    assert len(data) == len(right) and data.notes == ()
    assert [name for _, name in data.categories] == list(NAMES)
    for one, two in zip(right, data, strict=True):
        assert two.id.endswith(one.id)
        assert one.read() == two.read()
        np.testing.assert_allclose(two.target.boxes, one.target.boxes, atol=1e-3)
        index = {number: label for label, (number, _) in enumerate(right.categories)}
        assert two.target.category_ids.tolist() == [index[number] for number in one.target.category_ids.tolist()]
        assert not two.target.iscrowd.any()
