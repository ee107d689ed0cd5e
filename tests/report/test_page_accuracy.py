"""The accuracy section: each figure beside the source's and what is published, checks by weight, whatever the names."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelport.core.errors import DataError
from modelport.report.classes import FEW_IMAGES, WORST_CLASSES
from modelport.report.page.accuracy import accuracy_section
from modelport.report.page.draw import page
from modelport.report.page.found import Found
from modelport.report.page.judged_run import Run
from modelport.report.page.parts import Table
from modelport.report.result import Result
from page_results import TOP1, check, found_result

HOSTILE = "<img src=x onerror=alert(1)>"


def _card(*material: Found) -> dict[str, Any]:
    section = accuracy_section(material)
    assert section is not None
    (card,) = section.values["cards"]
    return dict(card)


def _texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def _result(**change: Any) -> Result:
    result = found_result(**change).result
    assert result is not None
    return result


def test_no_result_no_section() -> None:
    assert accuracy_section([]) is None


def test_engines_stand_side_by_side_by_metric() -> None:
    card = _card(found_result(), found_result(engine="other", precision="int8"))
    figures, agreement = card["tables"]
    interval = "-0.50 to 1.50 points"
    for row, label in zip(_texts(figures), ("null fp32", "other int8"), strict=True):
        words = [
            "top1",
            label,
            "90.00 ± 1.70 %",
            "91.00",
            "1.00 points",
            interval,
            "pass",
            "89.50 (Ascend310P3)",
            "300",
        ]
        assert row == words
    assert _texts(agreement)[0] == ["null fp32", "98.00 %", "6", "300"]


def test_figures_that_decide_nothing_are_folded_away() -> None:
    card = _card(found_result(metrics={"top1": TOP1, "top2": TOP1}))
    assert [table.rows[0][0].text for table in card["tables"]] == ["top1"]
    assert [table.rows[0][0].text for table in card["further"]] == ["top2"]


def test_a_loss_is_told_in_the_unit_of_the_tolerance() -> None:
    percent = {"tolerance": {"value": 1.0, "unit": "percent_of_reference"}}
    assert _texts(_card(found_result(statistics=percent))["tables"][0])[0][4] == "1.10 %"
    fraction = {"top1": {"value": 0.30, "unit": "fraction", "n": 300, "stderr": None}}
    source = {"metrics": {"top1": {"value": 0.32, "unit": "fraction", "n": 300, "stderr": None}}}
    row = _texts(_card(found_result(metrics=fraction, source=source | {"flip_count": 0, "flips": []}))["tables"][0])[0]
    assert row[2:5] == ["0.3000", "0.3200", "2.00 points"]


@pytest.mark.parametrize("rise", [False, True])
@pytest.mark.parametrize("unit", ["points", "percent_of_reference"])
def test_the_interval_of_a_figure_is_the_source_less_its_loss(rise: bool, unit: str) -> None:
    score = {"value": 50.0, "unit": "pixels", "n": 300, "stderr": None, "rise_is_loss": rise}
    result = _result(
        metrics={"top1": score},
        source={"metrics": {"top1": score}, "flip_count": 0, "flips": []},
        statistics={"tolerance": {"value": 2.0, "unit": unit}},
        checks=[check("top1_vs_source", "pass", interval=[-1.0, None])],
    )
    step = 0.5 if unit == "percent_of_reference" else 1.0
    expected = (50.0 - step, None) if rise else (None, 50.0 + step)
    assert Run("r", result).around("top1") == expected


def test_a_share_lies_between_none_and_all() -> None:
    checks = [check("top1_vs_source", "pass", interval=[-30.0, 95.0])]
    assert Run("r", _result(checks=checks)).around("top1") == (0.0, 100.0)


def test_checks_stand_by_their_weight_soundness_first() -> None:
    told = [("a", "pass"), ("b", "not_applicable"), ("c", "inconclusive"), ("d", "fail"), ("e", "incomplete")]
    told += [("f", "fail"), ("g", "odd"), ("h", "inconclusive")]
    checks = [check(name, verdict) for name, verdict in told]
    (run,) = _card(found_result(checks=checks, verdict="fail"))["runs"]
    assert [row[0].text for row in run["checks"].rows] == ["d", "f", "c", "h", "e", "a", "b", "g"]
    assert [row[1].tone for row in run["checks"].rows][:5] == ["fail", "fail", "doubt", "doubt", "doubt"]
    # Each row still names the place that it has in the file.
    for row in run["checks"].rows:
        place = int(row[0].key.split(".")[1])
        assert checks[place]["name"] == row[0].text and row[4].text == checks[place]["why"]
    assert run["open"]


def test_the_worst_classes_of_those_with_samples_enough() -> None:
    rows = [
        {"class": index, "name": HOSTILE, "n": FEW_IMAGES - (index % 2), "top1": 50.0 + index, "source": None}
        for index in range(60)
    ]
    (run,) = _card(found_result(per_class=rows, confusions=[{"target": 1, "answer": 2, "count": 7}]))["runs"]
    (table,) = run["more"]
    assert [row[0].text for row in table.rows] == [f"{2 * index}" for index in range(WORST_CLASSES)]
    assert [row[3].key for row in table.rows][1] == "per_class.2.top1"
    assert run["said"] == "Most often: 1 taken for 2 (7)."
    (run,) = _card(found_result(per_class=[{"class": 0, "name": "", "n": 1, "top1": 0.0, "source": 1.0}]))["runs"]
    assert run["more"] == []


def test_slices_stand_where_they_hold() -> None:
    row = {
        "slice": "class",
        "value": 3,
        "name": HOSTILE,
        "n": 40,
        "source": 90.0,
        "engine": 70.0,
        "loss": 20.0,
        "p": 1e-5,
    }
    (run,) = _card(found_result(slices=[row], slices_looked_at=12))["runs"]
    (table,) = run["more"]
    assert [cell.text for cell in table.rows[0]][2:] == ["40", "70.00", "90.00", "20.00", "1e-05"]
    assert "all 12 classes" in table.caption
    (run,) = _card(found_result(slices=[], slices_looked_at=12))["runs"]
    assert run["more"] == []


def test_the_drawing_has_source_runs_and_what_is_published() -> None:
    (chart,) = _card(found_result(), found_result(engine="b"))["charts"]
    assert [row[0].text for row in chart.numbers.rows] == [
        "source model",
        "null fp32",
        "b fp32",
        "Ascend310P3, published",
    ]
    assert "measured on other samples" in chart.numbers.rows[3][5].text
    assert "null fp32: 90.00, between 89.50 and 91.50, the last that would pass 89.00" in chart.alternative


def test_a_figure_of_another_variant_is_told_and_not_drawn() -> None:
    published = [{**found_result().value["published"][0], "variant": "big"}]
    card = _card(found_result(published=published))
    assert _texts(card["tables"][0])[0][7] == "89.50 (Ascend310P3, variant big)"
    assert [row[0].text for row in card["charts"][0].numbers.rows] == ["source model", "null fp32"]


def test_no_bound_is_said_once_and_drawn_as_none() -> None:
    card = _card(found_result(checks=[check("top1_vs_source", "inconclusive", interval=[None, None])]))
    assert _texts(card["tables"][0])[0][5] == "no bound"
    assert (
        "stroke-engine" not in card["charts"][0].svg
        and "between no bound and no bound" in card["charts"][0].alternative
    )


def test_a_limit_that_anything_passes_is_not_drawn() -> None:
    (chart,) = _card(found_result(checks=[check("top1_vs_source", "pass", want=-10.0)]))["charts"]
    assert "would pass" not in chart.alternative and "upright" not in chart.svg


def test_sources_of_other_samples_are_told_apart() -> None:
    source = {"metrics": {"top1": {**TOP1, "value": 80.0}}, "flip_count": 0, "flips": []}
    (chart,) = _card(found_result(), found_result(engine="b", source=source))["charts"]
    assert [row[0].text for row in chart.numbers.rows][:2] == ["source model, null fp32", "source model, b fp32"]


def test_other_samples_are_said() -> None:
    other = {"name": "imagenet", "n": 300, "fingerprint": "a" * 64}
    assert any("same samples" in words for words in _card(found_result(), found_result(dataset=other))["said"])


def test_results_without_labels_source_or_intervals_give_a_section() -> None:
    bare = {"source": {"metrics": {}, "flip_count": 0, "flips": []}, "checks": [check("finite", "pass")]}
    assert _texts(_card(found_result(**bare))["tables"][0])[0][3:7] == ["–", "–", "–", "–"]
    card = _card(found_result(metrics={}, **bare))
    assert card["tables"] == [] and card["charts"] == []
    old = _card(found_result(statistics={}, checks=[check("top1_vs_source", "pass")]))
    assert _texts(old["tables"][0])[0][4:7] == ["1.00 points", "–", "pass"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_none_is_told_and_not_drawn(value: float) -> None:
    card = _card(found_result(metrics={"top1": {**TOP1, "value": value}}, checks=[], published=[]))
    assert [row[0].text for row in card["charts"][0].numbers.rows] == ["source model", "null fp32"]
    page([found_result(metrics={"top1": {**TOP1, "value": value}})], "title")


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"top1": {**TOP1, "value": "x"}}},
        {"per_class": [1]},
        {"slices": [{}]},
        {"statistics": {"tolerance": {"value": -1}}},
        {"published": [{}]},
        {"checks": [check("top1_vs_source", "pass", interval=["a", "b"])]},
    ],
)
def test_a_damaged_result_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"runs/one.*is not as modelport writes it"):
        accuracy_section([found_result(**change)])


def test_words_of_others_stay_words() -> None:
    hostile = found_result(
        recipe=HOSTILE,
        engine=HOSTILE,
        metrics={HOSTILE: TOP1},
        checks=[check(HOSTILE, HOSTILE, got=HOSTILE, want=[HOSTILE], why=HOSTILE)],
        per_class=[{"class": HOSTILE, "name": HOSTILE, "n": 50, HOSTILE: 3.0, "source": 2.0}],
        confusions=[{"target": HOSTILE, "answer": HOSTILE, "count": 1}],
    )
    text = page([hostile], HOSTILE)
    assert "onerror=alert(1)" in text and "<img" not in text
