"""The guides' closing tables hold what the result holds, and a dash for what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from modelport.core.values import Check
from modelport.recipes.load import load_recipe
from modelport.report.closing_tables import MISSING, accuracy_comparison, speed_comparison
from modelport.report.markdown import render
from modelport.report.result import NOTHING_RAN, Result, SourceFigures, SourceOrigin, Speed
from modelport.report.speed import compare
from modelport.tasks.scoring import Score


def made(recipe_name: str, host: float | None = 5000.0, batch: int | None = 8, **changed: Any) -> Result:
    recipe = load_recipe(recipe_name)
    figure = None if host is None else {"value": host, "unit": "samples/s", "count": 30}
    points = [] if figure is None or batch is None else [{"batch": batch, "throughput": figure}]
    metric = recipe.published[0].metric
    value: dict[str, Any] = {
        "recipe": recipe.name,
        "variant": None,
        "recipe_sha256": "0" * 64,
        "engine": "null",
        "precision": "fp32",
        "batch": batch,
        "verdict": "pass",
        "rests_on": "the source",
        "n": 480,
        "skipped": 0,
        "duplicates": 0,
        "metrics": {metric: Score(79.375, "percent", 480, 1.8)},
        "source": SourceFigures({metric: Score(79.5, "percent", 480, 1.8)}, 0, (), SourceOrigin("checkpoint")),
        "reference": {},
        "published": tuple(one.model_dump(mode="json") | {"applies": False} for one in recipe.published),
        "checks": (Check("enough_samples", "pass", 480, 300, "enough"),),
        "speed": NOTHING_RAN if figure is None else Speed({"end_to_end": None, "host": figure, "device": None}, {}),
        "artifacts": (),
        "dataset": {"name": "imagenet", "n": 480, "fingerprint": "0" * 64},
        "notes": (),
        "environment": {"packages": {}, "processor": "p", "cores": 2, "platform": "l", "python": "3"},
        "further": {"published_speeds": compare(recipe.speeds, points)} if recipe.speeds else {},
    }
    return Result(**value | changed)


def test_each_published_device_has_a_column_beside_the_source_and_the_run() -> None:
    table = accuracy_comparison(made("smlp-t"))
    devices = [one.device for one in load_recipe("smlp-t").published]
    assert table.header[3:-2] == tuple(f"published, {device}" for device in devices)
    (row,) = table.rows
    assert row[:3] == ("smlp-t", "8", "top1")
    assert row[3:] == (*(f"{one.value:.2f}%" for one in load_recipe("smlp-t").published), "79.50%", "79.38%")
    assert any("other samples" in note for note in table.notes)


def test_a_figure_of_another_variant_says_so() -> None:
    table = accuracy_comparison(made("simclr"))
    assert any("(variant published)" in cell for row in table.rows for cell in row)


@pytest.mark.parametrize("name", ["moco-v2", "simclr", "inception-v4", "smlp-t", "nas-fpn"])
def test_published_speeds_stand_by_batch_and_ratios_where_both_sides_are(name: str) -> None:
    table, speeds = speed_comparison(made(name)), load_recipe(name).speeds
    batches = {figure.batch for speed in speeds for figure in speed.figures}
    assert [row[1] for row in table.rows] == [*map(str, sorted(batches | {8})), "best"]
    for row in table.rows[:-1]:
        for place, speed in enumerate(speeds):
            figure = next((one for one in speed.figures if str(one.batch) == row[1]), None)
            want = None if figure is None else speed.samples_per_second(figure)
            told, ratio = row[2 + place], row[3 + len(speeds) + place]
            assert told.split(" ")[0] == (MISSING if want is None else f"{want:.1f}")
            both = want is not None and row[1] == "8"
            assert ratio == (f"{5000.0 / want:.3g}" if both and want is not None else MISSING)
        assert row[2 + len(speeds)] == ("5000.0" if row[1] == "8" else MISSING)


def test_a_speed_that_is_no_samples_per_second_is_told_as_printed_too() -> None:
    table = speed_comparison(made("moco-v2"))
    assert "3344.0 (printed 836 fps)" in table.rows[1]
    assert table.rows[-1][2] == "3983.2 (batch 8)"  # the guides' errata
    assert any("batches/s" in note for note in table.notes)


def test_where_nothing_ran_nothing_is_claimed() -> None:
    result = made("simclr", host=None)
    for row in speed_comparison(result).rows:
        assert row[5:] == (MISSING,) * 4
    assert MISSING in render(result)


def test_what_has_no_published_speed_has_its_own_alone() -> None:
    table = speed_comparison(made("moco-v2", further={}))
    assert table.rows == (("moco-v2", "8", "5000.0"),)


def test_words_of_others_stay_words() -> None:
    speeds = compare(load_recipe("smlp-t").speeds, [])
    speeds[0] |= {"device": "<img src=x>|`*[a](b)*`", "note": "</table>"}
    text = render(made("smlp-t", further={"published_speeds": speeds}))
    assert "<img" not in text and "</table>" not in text
    closing = text.partition("## Ready to paste")[2]
    rows = [line for line in closing.splitlines() if line.startswith("| smlp-t")]
    assert len(rows) >= 7 and "\\[a\\](b)" in closing
