"""Which images of sets could move a figure."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelport.tasks.multilabel.resampled import _elsewhere

ENGINE, SOURCE = (
    st.sampled_from([-np.inf, 0.0, 0.4, 0.5, 1.0, 1.3, 2.0, np.inf]),
    st.sampled_from([-np.inf, 0.0, 1.0, 2.0]),
)


@given(st.lists(st.tuples(ENGINE, SOURCE), min_size=1, max_size=6))
def test_scores_stand_elsewhere_by_the_definition(pairs: list[tuple[float, float]]) -> None:
    engine, source = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    found = _elsewhere(engine, source, np.argsort(-source, kind="stable")).tolist()
    if np.isfinite(pairs).all():
        for row, (mine, theirs) in enumerate(pairs):
            others = [other for place, (_, other) in enumerate(pairs) if place != row]
            nearer = any(other == theirs or abs(mine - other) <= abs(mine - theirs) for other in others)
            assert found[row] is (mine != theirs and nearer)
    if not any(found):
        assert ((engine[:, None] > engine) == (source[:, None] > source)).all()
