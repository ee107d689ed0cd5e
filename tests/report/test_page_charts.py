"""Charts show what is in the numbers, inside their frame, and take no word of anybody's for markup."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from modelport.report.page.charts.front import Setting, accuracy_by_speed, front
from modelport.report.page.charts.histogram import histogram
from modelport.report.page.charts.interval_rows import Row, interval_rows
from modelport.report.page.charts.lines import MOST, lines
from modelport.report.page.charts.plot import Axis
from modelport.report.page.charts.points import Point, Series
from modelport.report.page.charts.scale import LARGEST, Scale, labels, log_ticks, short, thinned, ticks, within
from modelport.report.page.charts.stacked import Bar, Part, stacked
from modelport.report.page.charts.svg import WIDTH
from modelport.report.page.parts import Chart

HOSTILE = "</text><script>alert(1)</script>&\"'<b onload=x>"
PARTS = tuple(Part(name, "means", "fill-ink", 0.3) for name in ("decode", "run", "score"))


def _tree(chart: Chart | None) -> ElementTree.Element:
    """Return the drawing as XML, all of whose places are finite and inside the frame."""
    assert chart is not None and chart.alternative and chart.numbers.rows
    root = ElementTree.fromstring(str(chart.svg))
    height = float(root.attrib["viewBox"].split()[3])
    for node in root.iter():
        across = [float(node.attrib[name]) for name in ("x", "x1", "x2", "cx") if name in node.attrib]
        down = [float(node.attrib[name]) for name in ("y", "y1", "y2", "cy") if name in node.attrib]
        for x, y in (pair.split(",") for pair in node.attrib.get("points", "").split()):
            across.append(float(x))
            down.append(float(y))
        assert all(-10 <= x <= WIDTH + 0.01 for x in across), node.attrib
        assert all(-10 <= y <= height + 0.01 for y in down), node.attrib
    return root


def _words(root: ElementTree.Element) -> str:
    return " ".join(node.text or "" for node in root.iter("text"))


def _bars(root: ElementTree.Element) -> list[dict[str, float]]:
    """Return the rectangles that are no sign of a legend."""
    signs = {id(node) for group in root.iter("g") for node in group}
    return [
        {name: float(node.attrib[name]) for name in ("x", "y", "width", "height")}
        for node in root.iter("rect")
        if id(node) not in signs
    ]


# Ticks and scales


def _ranges(count: int, above: float = -LARGEST) -> list[tuple[float, float]]:
    draw = random.Random(0)
    found: list[tuple[float, float]] = []
    while len(found) < count:
        ends = sorted(draw.choice((-1, 1)) * draw.random() * 10.0 ** draw.randint(-29, 29) for _ in range(2))
        if above < ends[0]:
            found.append((ends[0], ends[1]))
    return found


@pytest.mark.parametrize("count", [2, 5, 8])
def test_ticks_cover_the_figures_in_even_steps(count: int) -> None:
    for low, high in [*_ranges(500), (0.0, 0.0), (5.0, 5.0), (99.9, 100.0), (-3.0, -3.0), (1e9, 1e9 + 1)]:
        found = ticks(low, high, count)
        span = found[-1] - found[0]
        assert found[0] <= low + 1e-9 * span and found[-1] >= high - 1e-9 * span
        assert 2 <= len(found) <= 2 * count + 2
        steps = [after - before for before, after in pairwise(found)]
        assert max(steps) - min(steps) <= 1e-6 * span and min(steps) > 0


def test_ticks_are_round() -> None:
    assert ticks(0, 100) == [0, 25, 50, 75, 100]
    assert ticks(0, 0.7, 5) == [0, 0.2, 0.4, 0.6, 0.8]


def test_ticks_of_ratios_cover_the_figures_and_ascend() -> None:
    for low, high in [*_ranges(500, above=1e-29), (1.0, 1.0), (100.0, 100.0), (3.0, 3.1), (1e-30, 1e30)]:
        found = log_ticks(low, high)
        assert found[0] <= low * (1 + 1e-8) and found[-1] >= high * (1 - 1e-8)
        assert found == sorted(set(found)) and 2 <= len(found) <= 14


@pytest.mark.parametrize("log", [False, True])
def test_a_scale_keeps_order_and_ends(log: bool) -> None:
    scale = Scale(1.0, 64.0, 300.0, 20.0, log)
    assert scale(1.0) == pytest.approx(300.0) and scale(64.0) == pytest.approx(20.0)
    assert scale(8.0) == pytest.approx(160.0 if log else 300 - 280 * 7 / 63)
    assert scale(-5.0) == scale(1.0) and scale(1e9) == scale(64.0)


def test_ticks_are_told_apart() -> None:
    assert labels([0.9999, 0.99995, 1.0]) == ["0.9999", "0.99995", "1"]
    for low, high in [*_ranges(200), (0.99999, 1.0), (1e6, 1e6 + 3)]:
        found = ticks(low, high)
        assert len(set(labels(found))) == len(found)
    assert (within(94.3333, 3.0), within(0.99999, 1e-4), within(5.0, 0.0)) == ("94.33", "0.999990", "5")


def test_kept_labels_lie_apart() -> None:
    places = [0.0, 3.0, 20.0, 21.0, 60.0]
    kept = thinned(places, 18.0)
    assert kept == [0, 2, 4]
    assert thinned([0.0, 20.0, 40.0, 45.0], 18.0) == [0, 1, 3]
    assert (thinned([], 1.0), thinned([5.0], 1.0), thinned([5.0, 6.0], 9.0)) == ([], [0], [0])


def test_short_figures_fit_beside_an_axis() -> None:
    assert all(len(short(value)) <= 10 for ends in _ranges(200) for value in ends)
    assert (short(28070.0), short(0.25), short(2.5e6)) == ("28.07k", "0.25", "2.5M")


# Lines


def _lines(*points: tuple[float, float], name: str = "one", log: bool = True) -> Chart | None:
    series = [Series(name, [Point(x, y, "key") for x, y in points])]
    return lines(
        "Speed", series, Axis("batch", log=log, at=tuple(x for x, _ in points if x > 0)), Axis("per s", from_zero=True)
    )


@pytest.mark.parametrize(
    "points",
    [[(1, 5.0)], [(1, 0.0)], [(1, 5.0), (64, 90.0)], [(1, 5.0), (2, math.nan), (4, math.inf), (8, 7.0)], [(1, 1e29)]],
)
def test_lines_stay_inside_and_hold_all_numbers(points: list[tuple[float, float]]) -> None:
    chart = _lines(*points)
    root = _tree(chart)
    assert chart is not None and len(chart.numbers.rows) == len(points)
    drawable = sum(math.isfinite(y) for _, y in points)
    assert len(list(root.iter("circle"))) == drawable + 1  # and the legend's sign
    assert ("cannot be drawn" in chart.alternative) == (drawable < len(points))


@pytest.mark.parametrize("points", [[], [(1, math.nan)], [(math.inf, 1.0)], [(1, 1e300)]])
def test_nothing_to_draw_gives_no_chart(points: list[tuple[float, float]]) -> None:
    assert _lines(*points) is None


def test_lines_that_cannot_be_told_apart_are_left_out_with_a_word() -> None:
    series = [Series(f"s{index}", [Point(1, index + 1.0)]) for index in range(MOST + 3)]
    chart = lines("Speed", series, Axis("batch"), Axis("per s"))
    assert chart is not None and len(chart.numbers.rows) == MOST + 3
    assert f"{MOST} of {MOST + 3} are drawn" in chart.alternative


def test_random_lines_stay_inside() -> None:
    draw = random.Random(1)
    for _ in range(60):
        points = [
            (2.0**index, draw.uniform(-1, 1) * 10 ** draw.randint(-20, 20)) for index in range(draw.randint(1, 7))
        ]
        _tree(_lines(*points, log=draw.random() < 0.5))


# Histograms


def test_a_histogram_has_a_bar_for_each_bin_that_holds_something() -> None:
    chart = histogram("Latency", "ms", [1.0, 2.0, 3.0, 4.0], [5, 0, 10], [("median", 3.2), ("p99", math.nan)], "key")
    root = _tree(chart)
    bars = _bars(root)
    assert len(bars) == 2 and bars[1]["height"] == pytest.approx(2 * bars[0]["height"], abs=0.05)
    assert "median" in _words(root) and "p99" not in _words(root)
    assert chart is not None and [row[2].text for row in chart.numbers.rows] == ["5", "0", "10"]
    assert chart.numbers.rows[2][2].key == "key.counts.2"


def test_a_long_tail_is_seen_and_takes_no_room_from_the_rest() -> None:
    chart = histogram(
        "Latency", "ms", [1.0, 1.1, 1.2, 1.3, 100.0], [5000, 4000, 1, 1], [("median", 1.05), ("p99", 50.0)]
    )
    root = _tree(chart)
    bars = _bars(root)
    assert min(bar["height"] for bar in bars) >= 1.9
    assert {round(bar["width"], 1) for bar in bars} == {round(bars[0]["width"], 1)}
    lines = [float(node.attrib["x1"]) for node in root.iter("line") if node.attrib["class"] == "stroke-ink"]
    # The median lies in the middle of the first bin, the other in that of the last one.
    for place, one in zip(lines, (bars[0], bars[3]), strict=True):
        assert place == pytest.approx(one["x"] + one["width"] / 2, abs=1.0)
    assert chart is not None and "of a wider range" in chart.alternative and "lighter" in _words(root)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([], []),
        ([1.0], []),
        ([1.0, 2.0], [0]),
        ([1.0, 2.0], [1, 1]),
        ([2.0, 1.0], [1]),
        ([1.0, math.nan], [1]),
        ([1.0, math.inf], [1]),
        ([1.0, 2.0], [-1]),
        ([float(edge) for edge in range(1002)], [1] * 1001),
        ([1.0, 2.0], [math.nan]),
    ],
)
def test_no_histogram_of_what_is_none(edges: list[float], counts: list[float]) -> None:
    assert histogram("Latency", "ms", edges, counts) is None


@pytest.mark.parametrize("edges", [[5.0, 5.0], [0.0, 1.0], [5.0, 5.000001]])
def test_a_single_bin_is_drawn(edges: list[float]) -> None:
    assert len(_bars(_tree(histogram("Latency", "ms", edges, [3])))) == 1


# Stacked bars


def test_parts_of_a_bar_sum_to_the_whole() -> None:
    draw = random.Random(2)
    for _ in range(30):
        bars = [Bar(f"b{i}", {part.name: draw.uniform(0, 50) for part in PARTS}, "stages_ms") for i in range(3)]
        chart = stacked("Time", "ms", bars, PARTS)
        root = _tree(chart)
        drawn = _bars(root)
        ends = [max(bar["x"] + bar["width"] for bar in drawn[3 * i : 3 * i + 3]) for i in range(3)]
        wholes = [bar.whole(PARTS) for bar in bars]
        # The ends lie in the proportion of the wholes, up to the gap that parts neighbours.
        for end, whole in zip(ends, wholes, strict=True):
            assert (end - 6) / whole == pytest.approx((ends[0] - 6) / wholes[0], rel=0.05)
        for one, row in zip(bars, chart.numbers.rows if chart else [], strict=True):
            assert float(row[-1].text) == pytest.approx(sum(float(cell.text) for cell in row[1:-1]), abs=0.01)
            assert float(row[-1].text) == pytest.approx(one.whole(PARTS), abs=0.001)


def test_a_stage_that_was_not_told_is_no_bar_and_a_dash() -> None:
    chart = stacked("Time", "ms", [Bar("b", {"decode": None, "run": 3.0, "score": math.nan})], PARTS)
    assert chart is not None and len([bar for bar in _bars(_tree(chart)) if bar["width"]]) == 1
    assert chart.numbers.rows[0][1].text == "–"


@pytest.mark.parametrize("value", [0.0, None, math.nan, math.inf, -1.0])
def test_no_bars_of_nothing(value: float | None) -> None:
    assert stacked("Time", "ms", [Bar("b", {"run": value})], PARTS) is None
    assert stacked("Time", "ms", [], PARTS) is None


# The front


@pytest.mark.parametrize("low_is_good", [False, True])
def test_the_front_is_what_nothing_beats(low_is_good: bool) -> None:
    draw = random.Random(3)
    sign = -1 if low_is_good else 1
    for _ in range(50):
        points = [Point(draw.randint(0, 9), draw.randint(0, 9)) for _ in range(draw.randint(1, 12))]
        expected = {
            (one.x, one.y)
            for one in points
            if not any(
                other.x >= one.x and sign * other.y >= sign * one.y and (other.x, other.y) != (one.x, one.y)
                for other in points
            )
        }
        found = front(points, low_is_good)
        assert {(one.x, one.y) for one in found} == expected and len(found) == len(expected)
        assert [one.x for one in found] == sorted(one.x for one in found)


def _settings(*points: tuple[float, float]) -> list[Setting]:
    return [Setting(Point(x, y, name=f"s{x}"), "key", "pass", index == 0) for index, (x, y) in enumerate(points)]


@pytest.mark.parametrize("points", [[(5.0, 90.0)], [(5.0, 90.0), (math.nan, 3.0)], [(1.0, 5.0), (2.0, 4.0)]])
def test_settings_are_drawn_with_the_source(points: list[tuple[float, float]]) -> None:
    chart = accuracy_by_speed("Front", _settings(*points), "top1", 91.0)
    _tree(chart)
    assert chart is not None and "Chosen: s" in chart.alternative and len(chart.numbers.rows) == len(points)


def test_no_front_of_nothing() -> None:
    assert accuracy_by_speed("Front", [], "top1") is None
    assert accuracy_by_speed("Front", _settings((math.inf, 1.0)), "top1", 3.0) is None


# Rows with intervals


def test_an_open_interval_reaches_the_frame() -> None:
    rows = [Row("source", 91.0, "source"), Row("run", 90.0, "engine", (None, 90.5), 89.0), Row("x", math.nan)]
    chart = interval_rows("top1", "percent", rows)
    root = _tree(chart)
    intervals = [node for node in root.iter("line") if node.attrib["class"] == "stroke-engine"]
    assert min(float(node.attrib["x1"]) for node in intervals if node.attrib["y1"] == node.attrib["y2"]) <= 8.0
    assert chart is not None and "between no bound and 90.50" in chart.alternative
    assert interval_rows("top1", "percent", [Row("x", math.inf)]) is None
    assert interval_rows("top1", "percent", []) is None


# Words of others


CHARTS: list[Callable[[str], Chart | None]] = [
    lambda word: lines(word, [Series(word, [Point(1, 2, word, word)])], Axis(word), Axis(word)),
    lambda word: histogram(word, word, [1.0, 2.0], [1], [(word, 1.5)], word),
    lambda word: stacked(word, word, [Bar(word, {word: 1.0})], [Part(word, word, "fill-ink")]),
    lambda word: accuracy_by_speed(word, [Setting(Point(1, 2, word, word, word), word, word)], word, 1.0),
    lambda word: interval_rows(word, word, [Row(word, 1.0, note=word, key=word)]),
]


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("word", [HOSTILE, "a\x1b[31m\x00\u202e", "{}{0}%s", "x" * 5000])
def test_words_of_others_stay_words(chart: Callable[[str], Chart | None], word: str) -> None:
    drawn = chart(word)
    root = _tree(drawn)
    assert {node.tag for node in root.iter()} <= {"svg", "g", "text", "line", "rect", "circle", "polygon", "polyline"}
    assert not any(name.startswith("on") or name == "style" for node in root.iter() for name in node.attrib)
    assert drawn is not None and "\x1b" not in str(drawn.svg) and "\u202e" not in str(drawn.svg)


def test_colours_come_from_the_page_alone() -> None:
    for chart in CHARTS:
        drawn = chart("word")
        assert drawn is not None and not re.search(r'(fill|stroke)="(?!none)|#[0-9a-f]{3}|rgb', str(drawn.svg))
