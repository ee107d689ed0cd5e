"""Labels of every form lie beside the tensors: as JSON by id, and as an array where they are numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.values import Sample
from modelport.data.files.label_files import LabelFiles


@pytest.mark.parametrize(
    ("labels", "stored", "array"),
    [
        ([3, 0], [3, 0], np.array([3, 0])),
        ([(1.5, 2.0), (0.0, -1.0)], [[1.5, 2.0], [0.0, -1.0]], np.array([[1.5, 2.0], [0.0, -1.0]])),
        ([(0, 3), ()], [[0, 3], []], None),
        (["a", "ä"], ["a", "ä"], None),
        ([object(), object()], [None, None], None),
    ],
)
def test_labels_of_each_form(tmp_path: Path, labels: list[Any], stored: list[Any], array: Any) -> None:
    out = tmp_path / "tensors"
    out.mkdir()
    samples = [Sample(name, label, tmp_path) for name, label in zip("ab", labels, strict=True)]
    files = LabelFiles(out, force=False)
    files.check(samples)
    places, notes = files.write(samples)
    assert json.loads((out / "labels.json").read_text(encoding="utf-8")) == dict(zip("ab", stored, strict=True))
    if array is None:
        assert (
            "npy" not in places and "labels.npy is not written" in notes[0] and not (tmp_path / "labels.npy").exists()
        )
    else:
        saved = np.load(places["npy"], allow_pickle=False)
        assert np.array_equal(saved, array) and saved.dtype == array.dtype
