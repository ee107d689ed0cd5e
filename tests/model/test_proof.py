"""Weights may stand in a graph in a few equal parts; what is not there to the bit is lost all the same."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.model.proof import _Pool

WEIGHTS = np.random.default_rng(0).standard_normal((6, 12, 1, 1)).astype(np.float32)


def _holds(parts: list[Array], value: Array) -> bool:
    return _Pool([(str(place), part) for place, part in enumerate(parts)]).holds(value)


@pytest.mark.parametrize(("axis", "count"), [(0, 2), (0, 3), (1, 3), (1, 4)])
def test_equal_parts_are_the_whole_and_a_changed_bit_is_not(axis: int, count: int) -> None:
    parts = [part.copy() for part in np.split(WEIGHTS, count, axis)]
    assert _holds(parts, WEIGHTS)
    assert not _holds(parts[1:], WEIGHTS)
    parts[-1].flat[0] = np.nextafter(parts[-1].flat[0], np.float32(9))
    assert not _holds(parts, WEIGHTS)


def test_a_vector_is_not_found_in_single_numbers() -> None:
    assert not _holds([np.zeros(1, np.float32)], np.zeros(4, np.float32))
    assert not _holds([np.zeros((1, 1), np.float32)], np.zeros((2, 2), np.float32))
