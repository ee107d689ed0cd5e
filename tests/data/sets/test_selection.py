"""Which samples are scored, and that a content counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.core.errors import UsageError
from modelport.data.sets.selection import Uniques, chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.recipes.schema import Recipe


def test_a_limit_draws_the_same_seeded_samples_and_says_so(tiny: Recipe, tiny_data: Path) -> None:
    data = open_dataset(tiny, tiny_data)
    drawn, said = chosen_samples(data, 30, None, 3)
    again, _ = chosen_samples(data, 30, "random", 3)
    assert [s.id for s in drawn] == [s.id for s in again] and len({s.id for s in drawn}) == 30
    assert [s.id for s in drawn] != [s.id for s in chosen_samples(data, 30, None, 4)[0]]
    assert "30 of 310" in said[0] and "seed 3" in said[0]


def test_without_a_limit_and_in_the_datas_order_nothing_is_drawn(tiny: Recipe, tiny_data: Path) -> None:
    data = open_dataset(tiny, tiny_data)
    assert [s.id for s in chosen_samples(data, None, None, 3)[0]] == [s.id for s in data]
    assert [s.id for s in chosen_samples(data, 5, "data", 3)[0]] == [s.id for s in data][:5]


@pytest.mark.parametrize(("limit", "order"), [(0, None), (-1, None), (5, "sideways")])
def test_absurd_choices_are_refused(tiny: Recipe, tiny_data: Path, limit: int, order: str | None) -> None:
    with pytest.raises(UsageError):
        chosen_samples(open_dataset(tiny, tiny_data), limit, order, 0)


def test_a_content_counts_once_unless_all_are_kept() -> None:
    once, every = Uniques(), Uniques(keep_all=True)
    rows, contents = ["a", "a", "b", "c"], ["1", "1", "2", "1"]
    assert once.kept(rows, contents) == [True, True, True, False]
    assert once.repeated == {"c": "a"}
    assert all(every.kept(rows, contents)) and every.repeated == {"c": "a"}
