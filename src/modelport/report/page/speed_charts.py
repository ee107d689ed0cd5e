"""The drawings of the speed section: over the batch, the latency's distribution, the front, where the time goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelport.core.text import listed
from modelport.report.page.charts.front import Setting, accuracy_by_speed
from modelport.report.page.charts.histogram import histogram
from modelport.report.page.charts.lines import lines
from modelport.report.page.charts.plot import Axis
from modelport.report.page.charts.points import Point, Series
from modelport.report.page.charts.stacked import Bar, Part, stacked
from modelport.report.page.groups import Group, Member
from modelport.report.page.guides_table import batch_of, flags_of
from modelport.report.page.parts import Chart
from modelport.report.page.reading import at, number_at, numbers_at, rows_at, words_at
from modelport.report.sentence import AGAINST
from modelport.tasks.scoring import SOURCE_AGREEMENT
from modelport.verdict.words import FAIL, PASS

STAGES = (
    Part("decode", "read and decoded, CPU time", "fill-ink", 0.3),
    Part("resize", "the rest of preprocessing, CPU time", "fill-ink", 0.55),
    Part("wait", "no run under way for want of inputs", "fill-ink", 0.12),
    Part("run", "the engine at work", "fill-engine"),
    Part("score", "scored and written, CPU time", "fill-ink", 0.8),
)
# Of a run's latencies those that are drawn, and what a title says of them: copies to and from a device are not.
CLOCKS = {"host": "", "device": ", on the device alone"}
AT_THE_SAME_TIME = "Where the time goes: the stages go on at the same time, so their sum is not the time end to end."


def charts_of(group: Group) -> tuple[list[Chart], list[str]]:
    """Return what can be drawn, and a word on each drawing that what was found is too old or too little for."""
    found: list[Chart | None] = [*_over_batch(group)]
    found += [chart for member in group.of("tune") if (chart := _front_of_tune(member, group.name)) is not None]
    found.append(_front_of_results(group))
    stages, told = _stages(group)
    found.append(stages)
    without = []
    found += [_latency_of_bench(member, group.name) for member in group.of("bench")]
    for member in group.of("result"):
        charts = [_latency_of_run(member, group.name, clock) for clock in CLOCKS]
        found += charts
        if not any(charts) and at(member.one.value, "latency_ms", "host") is not None:
            without.append(member.label)
    if without:
        told.append(f"No distribution of latency is drawn of {listed(without, 6)}: the result holds no histogram.")
    return [chart for chart in found if chart is not None], told


def _over_batch(group: Group) -> Iterator[Chart | None]:
    """Yield throughput and latency over the batch, with one run in flight and with as many as were best."""
    benches = group.of("bench")
    batches = {batch for one in benches for point in rows_at(one.one.value, "points") if (batch := batch_of(point))}
    x = Axis("batch", log=True, at=tuple(batches))
    for title, unit, *keys in (
        ("Throughput over the batch", "samples/s, bench", "throughput", "value"),
        ("Latency over the batch", "median of one run, ms", "latency_ms", "median"),
    ):
        told = (_series(one, single, *keys) for one in benches for single in (True, False))
        yield lines(f"{title}, {group.name}", [one for one in told if one.points], x, Axis(unit, from_zero=True))


def _series(member: Member, single: bool, *keys: str) -> Series:
    in_flight = {number_at(row, "in_flight") for row in rows_at(member.one.value, "points")} - {1.0, None}
    several = f"{in_flight.pop():g} in flight" if len(in_flight) == 1 else "the best number in flight"
    name = f"{member.label}, {'1 in flight' if single else several}"
    return Series(name, list(_points(member, single, *keys)))


def _points(member: Member, single: bool, *keys: str) -> Iterator[Point]:
    """Yield a figure of each batch: with one run in flight, or with several where that was measured."""
    for index, row in enumerate(rows_at(member.one.value, "points")):
        batch, value = batch_of(row), number_at(row, *keys)
        in_flight = number_at(row, "in_flight")
        if batch is None or value is None or (in_flight == 1) != single:
            continue
        notes = [text for _, text in flags_of(row)]
        notes += [f"{in_flight:g} runs in flight"] if in_flight is not None and not single else []
        yield Point(batch, value, f"points.{index}.{'.'.join(keys)}", "; ".join(notes))


def _latency_of_run(member: Member, name: str, clock: str) -> Chart | None:
    """Return the distribution of a run's latency by a clock; None where the result holds none."""
    batch = number_at(member.one.value, "batch") or 0.0
    told = at(member.one.value, "latency_ms", clock)
    return _latency(told, f"{name}, {member.label}, batch {batch:g}{CLOCKS[clock]}", f"latency_ms.{clock}")


def _latency_of_bench(member: Member, name: str) -> Chart | None:
    """Return the distribution at the setting with the highest throughput; None where the bench holds none."""
    speeds = enumerate(number_at(row, "throughput", "value") for row in rows_at(member.one.value, "points"))
    _, place = max(((speed, place) for place, speed in speeds if speed is not None), default=(0.0, 0))
    row = at(member.one.value, "points", place)
    batch, in_flight = (number_at(row, key) or 0.0 for key in ("batch", "in_flight"))
    title = f"{name}, {member.label}, bench, batch {batch:g}, {in_flight:g} in flight"
    return _latency(at(row, "latency_ms"), title, f"points.{place}.latency_ms")


def _latency(told: Any, title: str, key: str) -> Chart | None:
    edges, counts = numbers_at(told, "histogram", "edges"), numbers_at(told, "histogram", "counts")
    if edges is None or counts is None:
        return None
    marks = [(mark, value) for mark in ("median", "p99") if (value := number_at(told, mark)) is not None]
    return histogram(f"Latency of {title}", "ms per run", edges, counts, marks, f"{key}.histogram")


def _stages(group: Group) -> tuple[Chart | None, list[str]]:
    bars, without = [], []
    for member in group.of("result"):
        told = at(member.one.value, "stages_ms")
        parts = {part.name: number_at(told, part.name) for part in STAGES}
        if any(value is not None for value in parts.values()):
            bars.append(Bar(member.label, parts, "stages_ms"))
        elif number_at(member.one.value, "throughput", "end_to_end", "value") is not None:
            without.append(member.label)
    chart = stacked(f"Where the time of one image goes, {group.name}", "ms per image", bars, STAGES)
    said = [AT_THE_SAME_TIME] if chart is not None else []
    if without:
        said.append(f"Where the time goes is not told of {listed(without, 6)}: the result holds no stages_ms.")
    return chart, said


def _front_of_tune(member: Member, name: str) -> Chart | None:
    value = member.one.value
    settings = []
    for index, row in enumerate(rows_at(value, "points")):
        speed, accuracy = number_at(row, "samples_per_second"), number_at(row, "accuracy", "value")
        if speed is None or accuracy is None:
            continue
        told = [words_at(row, key, limit=40) for key in ("engine", "precision")]
        label = f"{' '.join(told)}, {setting_words(row)}"
        point = Point(speed, accuracy, f"points.{index}.accuracy.value", words_at(row, "why"), label)
        verdict = PASS if row.get("within_tolerance") is True else FAIL
        key = f"points.{index}.samples_per_second"
        settings.append(Setting(point, key, verdict, row.get("chosen") is True))
    metric = words_at(value, "metric", limit=40)
    axis = f"{metric}, {words_at(value, 'points', 0, 'accuracy', 'unit', limit=20)}"
    source, low = number_at(value, "source", metric, "value"), at(value, "source", metric, "rise_is_loss") is True
    return accuracy_by_speed(f"Accuracy and speed of what tune tried, {name}", settings, axis, source, low)


def setting_words(row: Any) -> str:
    """Return batch, runs in flight and threads of a setting in words."""
    batch, in_flight, threads = (number_at(row, key) or 0.0 for key in ("batch", "in_flight", "threads"))
    return f"batch {batch:g}, runs in flight {in_flight:g}, threads {threads:g}"


def _front_of_results(group: Group) -> Chart | None:
    """Return accuracy over speed of several runs on the same data; None where there are not several."""
    told = [(member, metric) for member in group.of("result") if (metric := _deciding(member)) is not None]
    told = [(member, metric) for member, metric in told if _same(member, metric, *told[0])]
    settings = []
    for member, metric in told:
        value = member.one.value
        speed, accuracy = (
            number_at(value, "throughput", "end_to_end", "value"),
            number_at(value, "metrics", metric, "value"),
        )
        if speed is None or accuracy is None:
            continue
        point = Point(speed, accuracy, f"metrics.{metric}.value", "", member.label)
        settings.append(Setting(point, "throughput.end_to_end.value", _held(value, metric)))
    if len(settings) < 2:
        return None
    first, metric = told[0][0].one.value, told[0][1]
    source, low = number_at(first, "source", "metrics", metric, "value"), at(first, "metrics", metric, "rise_is_loss")
    axis = f"{metric}, {words_at(first, 'metrics', metric, 'unit', limit=20)}"
    return accuracy_by_speed(f"Accuracy and speed of the runs, {group.name}", settings, axis, source, low is True)


def _same(member: Member, metric: str, first: Member, deciding: str) -> bool:
    """Whether a run's figure can stand beside the first one's."""
    mine, theirs = (at(one.one.value, "dataset", "fingerprint") for one in (member, first))
    return metric == deciding and mine == theirs


def _deciding(member: Member) -> str | None:
    """Return the metric that the verdict rests on: of the first check against the source, else the first there is."""
    value = member.one.value
    metrics = at(value, "metrics")
    names = [name for name in metrics if name != SOURCE_AGREEMENT] if isinstance(metrics, Mapping) else []
    checked = [words_at(row, "name").removesuffix(AGAINST) for row in rows_at(value, "checks") if _against(row)]
    return next((name for name in (*checked, *names) if name in names), None)


def _held(value: Mapping[str, Any], metric: str) -> str:
    """Return the verdict of the metric against the source; nothing where it was not held against one."""
    rows = rows_at(value, "checks")
    return next((words_at(row, "verdict") for row in rows if words_at(row, "name") == metric + AGAINST), "")


def _against(row: Mapping[str, Any]) -> bool:
    return words_at(row, "name").endswith(AGAINST)
