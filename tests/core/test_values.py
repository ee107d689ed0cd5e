"""Borders check name, dtype and shape exactly."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.errors import SignatureError, did_you_mean
from modelport.core.values import Signature, TensorSpec

SPEC = TensorSpec("image", "float32", ("batch", 3, 4, 4))


@pytest.mark.parametrize("batch", [1, 7])
def test_a_free_axis_takes_any_size(batch: int) -> None:
    SPEC.check(np.zeros((batch, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    "array", [np.zeros((1, 3, 4, 5), np.float32), np.zeros((3, 4, 4), np.float32), np.zeros((1, 3, 4, 4), np.float64)]
)
def test_a_wrong_shape_or_dtype_shows_got_and_want(array: np.ndarray) -> None:
    with pytest.raises(SignatureError, match=r"got .* want float32 \(batch, 3, 4, 4\)"):
        SPEC.check(array)


def test_names_are_never_paired_by_position() -> None:
    with pytest.raises(SignatureError, match="images"):
        Signature((SPEC,), ()).check_inputs({"images": np.zeros((1, 3, 4, 4), np.float32)})


def test_fixing_the_batch_leaves_fixed_axes_alone() -> None:
    assert SPEC.with_batch(2).shape == (2, 3, 4, 4)
    assert SPEC.with_batch(2).with_batch(5).shape == (2, 3, 4, 4)


def test_did_you_mean_keeps_the_spelling_of_the_choice() -> None:
    assert did_you_mean("INPUTNAME", ["inputName", "other"]) == "did you mean 'inputName'? "
    assert did_you_mean("zzz", ["inputName"]) == ""
