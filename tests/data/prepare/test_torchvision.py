"""The steps equal torchvision's transforms.v2 to the last bit; the numbers are stored, torchvision is not needed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from torchvision_transforms import FILE, cases, image

from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.steps import Step

EXPECTED = np.load(FILE)
CASES = cases()


def test_every_stored_case_is_held() -> None:
    assert set(EXPECTED) == {*CASES, "torchvision"}


@pytest.mark.parametrize("name", CASES)
def test_the_steps_equal_torchvision_to_the_last_bit(name: str) -> None:
    steps, size = CASES[name]
    stream = io.BytesIO()
    Image.fromarray(image(*size)).save(stream, "PNG")
    got = Preprocess(TypeAdapter(list[Step]).validate_python(steps)).tensor(stream.getvalue(), name)
    assert got.dtype == EXPECTED[name].dtype
    np.testing.assert_array_equal(got, EXPECTED[name])
