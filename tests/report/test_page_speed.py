"""The speed section: what is measured and what is published stand apart, doubts stand beside their figures."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelport.report.page.draw import page
from modelport.report.page.found import Found
from modelport.report.page.parts import Cell, Chart, Section, Table
from modelport.report.page.reading import at
from modelport.report.page.speed import speed_section
from page_results import found_bench, found_result, found_tune, point, published_speed, result_value

HOSTILE = "<script>alert(1)</script>"


def _card(*material: Found) -> dict[str, Any]:
    section = speed_section(material)
    assert section is not None
    (card,) = section.values["cards"]
    return dict(card)


def _table(card: dict[str, Any], caption: str) -> Table:
    tables: list[Table] = card["tables"]
    return next(table for table in tables if table.caption == caption)


def _titles(card: dict[str, Any]) -> list[str]:
    return [chart.title.split(",")[0] for chart in card["charts"]]


def _follow(value: Any, key: str) -> Any:
    """Return what lies under a cell's key."""
    for word in key.split("."):
        value = at(value, int(word) if word.isdigit() else word)
    return value


def _cells(section: Section) -> list[Cell]:
    tables = [table for card in section.values["cards"] for table in card["tables"]]
    tables += [chart.numbers for card in section.values["cards"] for chart in card["charts"]]
    return [cell for table in tables for row in table.rows for cell in row]


def test_nothing_ran_nothing_is_said() -> None:
    nothing = {"end_to_end": None, "host": None, "device": None}
    assert speed_section([found_result(throughput=nothing, latency_ms={}, stages_ms={})]) is None
    assert speed_section([]) is None


def test_throughputs_of_each_run_with_their_warnings() -> None:
    card = _card(found_result(speed_warnings=["unsteady"]), found_result(engine="other"))
    first, second = _table(card, "samples/s of each run").rows
    assert [cell.text for cell in first] == ["null fp32", "8", "50.0", "60.0", "–", "10.00", "15.00", "40", "unsteady"]
    assert first[-1].tone == "doubt" and second[-1].text == ""


@pytest.mark.parametrize("one", [found_result(published_speeds=[published_speed()]), found_bench(), found_tune()])
def test_every_figure_has_the_key_that_it_came_from(one: Found) -> None:
    section = speed_section([one])
    assert section is not None
    keyed = [cell for cell in _cells(section) if cell.key and cell.text not in ("", "–")]
    assert keyed
    for cell in keyed:
        value = _follow(one.value, cell.key)
        if isinstance(value, int | float):
            assert float(cell.text.split()[0]) == pytest.approx(value, rel=0.01), cell
        else:
            assert value is not None, cell


def test_the_guides_table_marks_the_best_and_keeps_published_apart() -> None:
    table = _table(_card(found_bench()), "samples/s by batch")
    assert list(table.header) == ["batch", "null fp32, bench", "Ascend310P3, published"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1", "55.0", "800.0 (printed 800 fps)"],
        ["8", "70.0 best (spread 21%)", "4000.0 best (printed 500 fps)"],
        ["best", "70.0 at batch 8", "4000.0 at batch 8"],
    ]
    assert table.rows[1][1].tone == "doubt" and table.rows[1][2].tone == "published"
    for row in table.rows:
        assert "published" in row[2].key and "published" not in row[1].key


def test_doubts_and_sources_are_told_in_words() -> None:
    said = " ".join(_card(found_bench(speed_warnings=["slow here"]))["said"])
    assert "null fp32, bench, batch 8: spread 21% in words." in said and "slow here" in said
    assert "not measured here; a guide" in said and "is 0.0175 times that" in said and "falls" in said


def test_many_remarks_are_cut_with_a_word() -> None:
    card = _card(found_bench(points=[point(batch, 1, 50.0, "spread") for batch in range(1, 40)]))
    assert any("27 more figures have a remark" in words for words in card["said"])


def test_a_run_without_bench_stands_at_its_batch_beside_the_published() -> None:
    table = _table(_card(found_result(published_speeds=[published_speed()])), "samples/s by batch")
    assert [row[1].text for row in table.rows] == ["–", "60.0", "60.0 at batch 8"]


def test_the_same_published_speeds_of_several_results_stand_once() -> None:
    told = [published_speed(), published_speed("T4")]
    card = _card(found_result(published_speeds=told), found_result(engine="b", published_speeds=told))
    assert [word for word in _table(card, "samples/s by batch").header if "published" in word] == [
        "Ascend310P3, published",
        "T4, published",
    ]


def test_models_are_never_mixed() -> None:
    section = speed_section([found_result(), found_result(recipe="other"), found_result(variant="v")])
    assert section is not None
    assert [card["name"] for card in section.values["cards"]] == ["tiny", "other", "tiny, variant v"]


def test_all_drawings_of_a_model() -> None:
    card = _card(found_result(), found_result(engine="b"), found_bench(), found_tune())
    assert _titles(card) == [
        "Throughput over the batch",
        "Latency over the batch",
        "Accuracy and speed of what tune tried",
        "Accuracy and speed of the runs",
        "Where the time of one image goes",
        "Latency of tiny",
        "Latency of tiny",
    ]
    assert any("tune chose b int8" in words and "80.0 samples/s" in words for words in card["said"])
    assert any("go on at the same time" in words for words in card["said"])


def test_old_results_are_drawn_without_what_they_do_not_hold_and_it_is_said() -> None:
    value = result_value()
    del value["stages_ms"], value["latency_ms"]["host"]["histogram"], value["statistics"]
    card = _card(Found("result", found_result().path, value, None, found_result().result))
    assert card["charts"] == []
    assert len([words for words in card["said"] if "the result holds no" in words]) == 2


def test_the_machine_is_told_and_several_are_kept_apart() -> None:
    assert "Measured on c, 2 cores." in _card(found_result())["said"]
    other = {**found_result().value["environment"], "processor": HOSTILE}
    card = _card(found_result(), found_result(engine="b", environment=other))
    (said,) = (words for words in card["said"] if "several machines" in words)
    assert said.endswith(f"compared: c, 2 cores (null fp32, result); {HOSTILE}, 2 cores (b fp32, result).")


def test_a_bench_shows_the_latencies_of_its_fastest_setting() -> None:
    points = [point(1, 1, 40.0), point(8, 2, 90.0), point(8, 1, 70.0)]
    for index, row in enumerate(points):
        row["latency_ms"]["histogram"] = {"edges": [1.0, 2.0], "counts": [10 + index]}
    chart = _card(found_bench(points=points))["charts"][-1]
    assert chart.title == "Latency of tiny, null fp32, bench, batch 8, 2 in flight"
    assert [cell.text for cell in chart.numbers.rows[0]] == ["1.000", "2.000", "11"]
    assert chart.numbers.rows[0][2].key == "points.1.latency_ms.histogram.counts.0"


def test_latencies_on_the_device_are_drawn_too() -> None:
    told = found_result().value["latency_ms"]["host"]
    charts = _card(found_result(latency_ms={"host": told, "device": told, "h2d": told}))["charts"]
    assert [chart.title for chart in charts][-2:] == [
        "Latency of tiny, null fp32, batch 8",
        "Latency of tiny, null fp32, batch 8, on the device alone",
    ]
    assert charts[-1].numbers.rows[0][0].key == "latency_ms.device.histogram.edges.0"


def test_runs_on_other_data_are_no_front() -> None:
    other = {"name": "imagenet", "n": 300, "fingerprint": "a" * 64}
    assert "Accuracy and speed of the runs" not in _titles(
        _card(found_result(), found_result(engine="b", dataset=other))
    )


@pytest.mark.parametrize("odd", [None, "word", [], {}, [1], math.nan, math.inf, -1.0, True, 10**400, {"value": "x"}])
@pytest.mark.parametrize(
    "key", ["points", "published", "speed_warnings", "engine", "recipe", "chosen", "source", "metric"]
)
def test_whatever_stands_in_a_printed_file_the_page_is_drawn(key: str, odd: Any) -> None:
    for one in (found_bench(**{key: odd}), found_tune(**{key: odd})):
        speed_section([one, found_result()])


@pytest.mark.parametrize("odd", [None, "word", [], {"value": None}, math.nan, math.inf, True, 10**400])
@pytest.mark.parametrize(
    "key", ["batch", "in_flight", "throughput", "latency_ms", "flags", "accuracy", "samples_per_second"]
)
def test_whatever_stands_in_a_point_the_page_is_drawn(key: str, odd: Any) -> None:
    for one in (found_bench(), found_tune()):
        for row in one.value["points"]:
            row[key] = odd
        speed_section([one])


def test_words_of_others_stay_words() -> None:
    bench = found_bench(recipe=HOSTILE, engine=HOSTILE, points=[point(1, 1, 9.0, HOSTILE)], speed_warnings=[HOSTILE])
    told = found_tune(recipe=HOSTILE, engine=HOSTILE, metric=HOSTILE)
    run = found_result(
        recipe=HOSTILE, engine=HOSTILE, speed_warnings=[HOSTILE], published_speeds=[published_speed(HOSTILE)]
    )
    assert "alert(1)" in (text := page([bench, told, run], HOSTILE)) and HOSTILE not in text


def test_a_chart_says_what_it_shows() -> None:
    charts: list[Chart] = _card(found_bench())["charts"]
    assert "null fp32, 1 in flight: from 40 at 1 to 70 at 8" in charts[0].alternative
    assert "spread 21% in words" in " ".join(row[3].text for row in charts[0].numbers.rows)
