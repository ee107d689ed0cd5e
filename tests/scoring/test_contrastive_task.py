"""The published variant's pairs: drawn with replacement, seeded, as many batches as the script draws."""

from __future__ import annotations

import numpy as np

from modelport.scoring.contrastive_task import drawn_pairs


def test_pairs_are_drawn_with_replacement_and_by_seed_alone() -> None:
    pairs = drawn_pairs(10_000, seed=1)
    assert pairs.shape == drawn_pairs(200, seed=1).shape == (78, 128)
    assert pairs.min() >= 0 and pairs.max() < 10_000
    assert len(np.unique(pairs)) < pairs.size
    np.testing.assert_array_equal(pairs, drawn_pairs(10_000, seed=1))
    assert (pairs != drawn_pairs(10_000, seed=2)).any()
