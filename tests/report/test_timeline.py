"""The plot over time: places follow the figures, what is certain has a mark of its own, nobody's words are markup."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from modelport.report.page.charts.timeline import CERTAIN, Moment, timeline
from modelport.report.page.draw import page
from modelport.report.page.found import Found, found
from modelport.report.page.history import MAX_ROWS, history_section

START = datetime(2026, 11, 1, tzinfo=UTC)
NASTY = "<script>alert(1)</script>"


def _moments(values: list[float], **more: Any) -> list[Moment]:
    return [Moment(START + timedelta(days=day), value, **more) for day, value in enumerate(values)]


def _line(svg: str) -> list[tuple[float, float]]:
    (told,) = re.findall(r"<polyline points=\"([^\"]*)\"", svg)
    return [(float(x), float(y)) for x, y in (place.split(",") for place in told.split())]


def test_places_follow_time_and_figures() -> None:
    values = [70.0, 72.0, 71.0, 75.0]
    chart = timeline("top1", "percent", _moments(values)[::-1])
    assert chart is not None
    places = _line(chart.svg)
    xs, ys = [x for x, _ in places], [-y for _, y in places]
    steps = [after - before for before, after in pairwise(xs)]
    assert xs == sorted(xs) and max(steps) - min(steps) < 0.05
    scale = (ys[3] - ys[0]) / (values[3] - values[0])
    assert ys == pytest.approx([ys[0] + scale * (value - values[0]) for value in values], abs=0.05)
    assert "lowest 70 on 2026-11-01" in chart.alternative and "highest 75 on 2026-11-04" in chart.alternative


@pytest.mark.parametrize("word", [*CERTAIN, "same", "cannot tell", ""])
def test_what_is_certain_alone_is_marked_and_told(word: str) -> None:
    moments = [*_moments([70.0, 71.0]), Moment(START + timedelta(days=3), 65.0, change=word)]
    chart = timeline("top1", "percent", moments)
    assert chart is not None
    marked = any(look in chart.svg for look in ("fill-pass", "fill-fail"))
    assert marked == (word in CERTAIN)
    assert (f"{word} on 2026-11-04" in chart.alternative) if marked else ("No change is certain" in chart.alternative)


@pytest.mark.parametrize(
    "moments",
    [
        _moments([70.0, float("inf"), float("nan"), 1e300, 71.0]),
        _moments([0.0, 0.0]),
        [Moment(START, 1.0), Moment(START, 2.0)],
        [Moment(datetime.min.replace(tzinfo=UTC) + timedelta(days=1), 1.0), Moment(START, 2.0)],
        _moments([1.0, 2.0], low=float("-inf"), high=None),
        _moments([1e-30, 2e-30]),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_left_out(moments: list[Moment]) -> None:
    chart = timeline(NASTY, NASTY, moments)
    assert chart is not None and "nan" not in chart.svg and "inf" not in chart.svg and NASTY not in chart.svg
    assert len(chart.numbers.rows) == len(moments)
    assert all(-1 < x < 361 and -1 < y < 400 for x, y in _line(chart.svg))


def test_one_figure_makes_no_plot() -> None:
    assert timeline("top1", "percent", _moments([70.0])) is None
    assert timeline("top1", "percent", []) is None


def _value(**changed: Any) -> dict[str, Any]:
    row = {
        "path": "a",
        "started": "2026-11-01T12:00:00+00:00",
        "verdict": "pass",
        "n": 400,
        "metric": "top1",
        "value": 73.0,
        "unit": "percent",
        "interval": [69.0, 77.0],
        "drop": {"value": 0.1, "interval": [-1.0, 1.0], "unit": "points", "tolerance": 1.0},
        "samples_per_second": 500.0,
        "version": "0.1.0",
        "command": "modelport run",
        "change": {"change": -3.0, "verdict": "worse", "why": "paired"},
    }
    group = {"recipe": "r", "variant": None, "engine": "e", "precision": "fp32", "metric": "top1", "rows": [row, row]}
    return {"schema": "modelport.history/1", "groups": [group], "skipped": [], "notes": []} | changed


def test_a_history_that_was_printed_is_read_and_each_figure_names_its_key(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    file.write_text(json.dumps(_value()))
    text = page(found([file]), "history")
    assert 'data-key="groups[0].rows[1].value"' in text and "worse" in text and "-3.00" in text


@pytest.mark.parametrize(
    "spoiled",
    [
        {"groups": 7},
        {"groups": [7, None, {"rows": [None, 3, {}]}]},
        {"groups": [{"recipe": NASTY, "metric": NASTY, "rows": [{"started": NASTY, "verdict": NASTY, "value": "x"}]}]},
        {"groups": [{"rows": [{"started": "9999-12-31T23:59:59+00:00", "value": 1e999, "interval": [1]}] * 2}]},
        {"groups": [{"rows": [{"started": "0001-01-01", "value": 10**400, "change": 3, "drop": []}] * 2}]},
        {"skipped": [{"path": NASTY, "why": NASTY}] * 1000, "notes": [NASTY] * 1000},
    ],
    ids=["0", "1", "2", "3", "4", "5"],
)
def test_a_history_of_anybody_is_drawn_or_left_out_and_runs_nothing(spoiled: dict[str, Any]) -> None:
    text = page([Found("history", Path("h"), _value(**spoiled))], "history")
    assert NASTY not in text and len(text) < 2_000_000


def test_a_page_stays_small() -> None:
    row = _value()["groups"][0]["rows"][0] | {"command": "c" * 5000, "version": "v" * 5000, "verdict": "w" * 5000}
    value = _value(groups=[{"recipe": f"r{place}", "metric": "top1", "rows": [row] * 100} for place in range(60)])
    text = page([Found("history", Path("h"), value)], "history")
    assert len(text.encode()) < 2_000_000
    section = history_section([Found("history", Path("h"), value)])
    assert section is not None and sum(card["count"] for card in section.values["cards"]) == MAX_ROWS
