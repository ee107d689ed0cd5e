"""Names of tensor files: safe, told apart up to the first dot, and each leads back to its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.core.errors import DataError, UsageError
from modelport.core.values import Sample
from modelport.data.files.guide_names import (
    GuideNames,
    OwnNames,
    check_names,
    claimed_rows,
    decoded,
    encoded,
    names_of,
    result_stem,
    row_ids,
)
from modelport.recipes.load import load_recipe

NASTY = ["a", "A", "a.b", "a.c", "a/b", "a%2Fb", "a+1", "n01/ä b,c", "..", ".x", "-r", "~", "a#0", "a_0", "图", "a\\b"]


def test_a_name_is_one_safe_word_and_leads_back() -> None:
    names = [encoded(row) for row in NASTY]
    assert [decoded(name) for name in names] == NASTY
    assert len({result_stem(name) for name in names}) == len(NASTY)
    for name in names:
        assert name.isascii() and not set(name) & set("/\\., +~*?'\"") and not name.startswith(".")


@pytest.mark.parametrize("size", [1, 2, 3, 16, 99])
def test_own_names_claim_what_they_were_given(size: int) -> None:
    names = OwnNames()
    given = {
        names.stem(number, start, NASTY[start : start + size]): NASTY[start : start + size]
        for number, start in enumerate(range(0, len(NASTY), size))
    }
    assert claimed_rows(list(given), NASTY, None, 1) == given
    assert claimed_rows(["zzz", "a+x", "a%2fb", "%FF"], NASTY, None, 1) == {}


@pytest.mark.parametrize(("recipe", "size"), [("simclr", 1), ("smlp-t", 1), ("smlp-t", 5), ("moco-v2", 1)])
def test_guide_names_claim_what_they_were_given(recipe: str, size: int) -> None:
    files = load_recipe(recipe).guide_files
    names = names_of("guide", files, recipe)
    rows = row_ids([Sample(f"n{index}", index, Path("x")) for index in range(12)], 2 if recipe == "simclr" else 1)
    given = {
        names.stem(number, start, rows[start : start + size]): rows[start : start + size]
        for number, start in enumerate(range(0, len(rows), size))
    }
    assert isinstance(names, GuideNames) and claimed_rows(list(given), rows, files, size) == given
    assert claimed_rows(["Simclr_prep_00", "batch-0", "batch-00099", "Simclr_prep_24"], rows, files, size) == {}


def test_names_that_would_share_a_result_are_refused() -> None:
    with pytest.raises(DataError, match=r"one\.b and one\.a would both be called 'one'"):
        check_names({"one.a": "one.a", "one.b": "one.b"})
    with pytest.raises(DataError, match="makes no file name"):
        check_names({".a": ".a"})
    with pytest.raises(DataError, match="makes no file name"):
        check_names({"long": "x" * 300})
    with pytest.raises(UsageError, match="names no guide's files"):
        names_of("guide", None, "mine")
