"""Texts: CTC decoding and distances against torchmetrics and the recursion, and what is no recipe of the task."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.errors import DataError, RecipeError, UsageError
from modelport.core.values import RowId, TensorSpec
from modelport.recipes.load import parse_recipe
from modelport.recipes.toml import toml_value
from modelport.tasks.base import own_table
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import task_of
from modelport.tasks.text.ctc import Alphabet
from modelport.tasks.text.distance import edit_distance
from modelport.tasks.text.lines import levenshtein
from modelport.tasks.text.recipe_table import Characters as Table
from modelport.tasks.text.task import USUAL, Text
from modelport.verdict.rules import limit_of
from oracles import torchmetrics

TEXT = """
schema = "modelport.recipe/1"
name = "words"
task = "text"
metrics = ["exact_match", "edit_distance", "cer"]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 32, height = 32, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.5], std = [0.5] },
]
text.characters = "abc"
text.blank = 0
tensors.inputs = [{ name = "image", dtype = "float32", shape = ["batch", 3, 32, 32] }]
tensors.outputs = [{ name = "scores", dtype = "float32", shape = ["batch", 6, 4] }]
dataset.kind = "table"
"""
WORDS = st.text("abé\u0301😀", max_size=9)


def _scores(*texts: str, alphabet: str = "_abc") -> Any:
    """Return scores (N, T, C) whose best classes are the characters of ``texts``."""
    best = np.array([[alphabet.index(character) for character in text] for text in texts])
    return np.eye(len(alphabet), dtype=np.float32)[best]


def _figures(got: Any, labels: list[str], source: Any = None, text: str = TEXT) -> tuple[Figures, list[Any]]:
    scorer = task_of(parse_recipe(text, "x.toml")).scorer(source is not None)
    theirs = None if source is None else {"scores": source}
    ids = [RowId(str(row)) for row in range(len(labels))]
    lines = scorer.take(Rows(ids, labels, {"scores": got}, theirs))
    return scorer.figures(), lines


@pytest.mark.parametrize(("path", "text"), [("_aa_b_", "ab"), ("aa_abb", "aab"), ("______", ""), ("cbaabc", "cbabc")])
def test_repeats_are_merged_and_blanks_left_out(path: str, text: str) -> None:
    first = Alphabet.of(Table(characters="abc", blank=0))
    assert first.texts(_scores(path)) == [text]
    assert Alphabet.of(Table(characters="abc", blank=0, layout="NCT")).texts(_scores(path).transpose(0, 2, 1)) == [text]
    last = Alphabet.of(Table(characters=["a", "b", "c"], blank="last"))
    assert last.texts(_scores(path, alphabet="abc_")) == [text]
    for dtype in (np.int64, np.int32, np.uint8):
        assert first.texts(_scores(path).argmax(axis=2).astype(dtype)) == [text]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_decoding_is_the_definition(best: list[int]) -> None:
    want = "".join("_abc"[key] for key, _ in groupby(best) if key)
    assert Alphabet.of(Table(characters="abc", blank=0)).texts(np.array([best])) == [want]


def test_what_is_no_class() -> None:
    alphabet = Alphabet.of(Table(characters="abc", blank=0))
    assert alphabet.texts(np.array([[1, 1, -1, -1], [-1, 2, 3, -1]])) == ["a", "bc"]
    with pytest.raises(DataError, match=r"holds class 4, text\.characters and the blank are 4 classes"):
        alphabet.texts(np.array([[1, 4]]))
    broken = _scores("_aa_b_", "_aa_b_")
    broken[1, 3, 2] = np.nan
    assert alphabet.texts(broken) == ["ab", None]


@given(WORDS, WORDS)
def test_the_distance_is_the_recursion(one: str, other: str) -> None:
    @cache
    def far(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(far(i - 1, j) + 1, far(i, j - 1) + 1, far(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    assert edit_distance(one, other) == edit_distance(other, one) == far(len(one), len(other))
    assert levenshtein(one, other) == far(len(one), len(other))


def test_figures_are_torchmetrics() -> None:
    torchmetrics()
    from torchmetrics.functional.text import char_error_rate
    from torchmetrics.functional.text import edit_distance as oracle

    rng = np.random.default_rng(4)
    labels = ["".join(rng.choice(list("abc"), rng.integers(0, 6))) for _ in range(80)]
    labels[7] = labels[8] = ""
    scores = rng.normal(size=(80, 6, 4)).astype(np.float32)
    labels[9:20] = [line["text"] for line in _figures(scores, labels)[1]][9:20]
    figures, lines = _figures(scores, labels)
    texts = [line["text"] for line in lines]
    metrics = figures.metrics
    assert metrics["edit_distance"].value == pytest.approx(oracle(texts, labels).item(), abs=1e-6)
    assert metrics["cer"].value == pytest.approx(100 * char_error_rate(texts, labels).item(), abs=1e-4)
    right = sum(map(str.__eq__, texts, labels))
    assert metrics["exact_match"].value == pytest.approx(100 * right / 80) and right >= 11
    away = [edit_distance(*pair) for pair in zip(texts, labels, strict=True)]
    assert metrics["edit_distance"].stderr == pytest.approx(np.std(away, ddof=1) / np.sqrt(80))
    assert metrics["edit_distance"].rise_is_loss and metrics["cer"].rise_is_loss and metrics["exact_match"].n == 80
    tolerance = parse_recipe(TEXT, "x.toml").tolerance
    letters = sum(map(len, labels))
    assert limit_of(metrics["edit_distance"], tolerance) == pytest.approx((sum(away) + 0.01 * letters) / 80)
    assert limit_of(metrics["cer"], tolerance) == pytest.approx(metrics["cer"].value + 1)


def test_texts_are_compared_in_normal_form_c_and_cases_differ() -> None:
    text = TEXT.replace('"abc"', '["e", "e\u0301", "E"]')
    decomposed = unicodedata.normalize("NFD", "é")
    figures, lines = _figures(_scores("aaaaaa", "bbbbbb", "cccccc"), ["e", decomposed, "e"], text=text)
    assert [line["text"] for line in lines] == ["e", "é", "E"] and lines[1]["target"] == "é"
    assert figures.metrics["exact_match"].value == pytest.approx(200 / 3)


def test_answers_agree_where_the_texts_are_the_same() -> None:
    got, source = _scores("a_____", "ab____", "b_____"), _scores("_aaa__", "a_____", "b_____")
    got[2] = np.nan
    figures, lines = _figures(got, ["a", "ab", "b"], source)
    assert (figures.flips.met, figures.flips.of) == (1, 3)
    assert figures.flips.first[0] == {"id": "1", "target": "ab", "source": "a", "engine": "ab"}
    assert lines[2]["text"] is None and figures.metrics["edit_distance"].value == pytest.approx(1 / 3)


def test_labels_that_cannot_be_met_are_told() -> None:
    figures, _ = _figures(_scores("a_____", "ab____"), ["a", "ax"])
    assert figures.notes == ["1 labels hold characters that the model has not, and no answer meets them: 'x'"]
    assert figures.chance == {"exact_match": 50.0}
    empty, _ = _figures(_scores("______"), [""])
    assert empty.metrics["exact_match"].value == 100 and "cer" not in empty.metrics


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('text.characters = "abc"\ntext.blank = 0\n', "", r"the task text needs the table \[text\]"),
        ("text.blank = 0\n", "", "text.blank"),
        ("text.blank = 0", "text.blank = 3", "text.blank"),
        ("text.blank = 0", 'text.blank = 0\ntext.layout = "TNC"', "text.layout"),
        ('"abc"', '"abcd"', "4 characters and a blank are 5 classes, the output 'scores' has 4"),
        ('"abc"', '["a", "", "c"]', "text.characters"),
        ('"batch", 6, 4', '"batch", 4', "texts are read of"),
        ('"float32", shape = ["batch", 6, 4]', '"int64", shape = ["batch", 6, 4]', r"texts are read of \(batch, pos"),
        ('"table"', '"table"\ndataset.label_offset = 1', "no meaning for texts"),
        ('["exact_match", "edit_distance", "cer"]', '["top1"]', "no metric of text"),
        ('"table"', '"imagenet"', "its labels are class or identity, text takes text"),
    ],
)
def test_what_is_no_recipe_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def _drafted(shape: tuple[int | str, ...], metadata: dict[str, str]) -> dict[str, Any]:
    lines = Text.draft_lines([TensorSpec("out", "float32", shape)], metadata)
    return {line.key: (line.value, line.guessed) for line in lines}


def test_init_reads_the_characters_of_paddleocrs_files() -> None:
    outputs = [TensorSpec("out", "float32", ("batch", 40, 5))]
    assert Text.draft(outputs) is None and Text.draft(outputs, alone=False) is not None
    assert _drafted(("batch", 40, 5), {"character": "'\n疗\nö"})["text.characters"] == ("'疗ö ", False)
    assert _drafted(("batch", 40, 4), {"character": "'\n疗\nö"})["text.characters"] == ("'疗ö", False)
    assert _drafted(("batch", 3, 40), {"character": "a\nbc"}) == {
        "text.characters": (["a", "bc"], False),
        "text.blank": (0, False),
        "text.layout": ("NCT", False),
    }
    assert _drafted(("batch", 26, 37), {})["text.characters"] == (USUAL, True)
    with pytest.raises(UsageError, match="nothing tells which characters"):
        _drafted(("batch", 26, 97), {})


def test_six_thousand_characters_stand_in_a_recipe(tmp_path: Path) -> None:
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 6623))) + " "
    told = TEXT.replace('"abc"', toml_value(characters)).replace("6, 4]", "6, 6625]")
    recipe = parse_recipe(told, "x.toml")
    table = own_table(recipe, Table)
    assert table.characters == characters
    assert Alphabet.of(table).texts(np.array([[0, 6624, 1, 1, 6623]])) == [" " + characters[0] + characters[6622]]
