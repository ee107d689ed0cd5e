"""What became of each recipe, engine and precision over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from modelport.core.text import plain
from modelport.report.page.cells import figure
from modelport.report.page.charts.timeline import CERTAIN, Moment, timeline
from modelport.report.page.found import Found
from modelport.report.page.parts import TONES, Cell, Chart, Section, Table
from modelport.report.page.reading import at, number_at, numbers_at, rows_at, texts_at, words_at

# Results that are drawn, over all groups: the newest of each; groups; and lines beneath: a page stays small.
MAX_ROWS, MAX_GROUPS, MAX_SAID = 400, 50, 50
MEANINGS = (
    "Each bound is one-sided at 95 %. A change is held against the result before it, by the same samples where both "
    "tell them; better and worse hold for certain, corrected for all changes of the group."
)
HEADER = (
    *("started, UTC", "verdict", "n", "figure", "from", "to", "drop", "samples/s", "change", "since the one before"),
    *("modelport", "command"),
)


def history_section(material: Sequence[Found]) -> Section | None:
    """Return a table and plots for each group; None where no history was found."""
    cards, left, said = list[dict[str, Any]](), MAX_ROWS, list[str]()
    for one in (each for each in material if each.kind == "history"):
        groups = rows_at(one.value, "groups")
        for place, group in enumerate(groups[:MAX_GROUPS]):
            card = _card(group, f"groups.{place}", left)
            left -= card["count"]
            cards.append(card)
        said += [f"skipped: {words_at(row, 'path')}: {words_at(row, 'why')}" for row in rows_at(one.value, "skipped")]
        said += texts_at(one.value, "notes")
        said += [f"{MAX_GROUPS} of {len(groups)} groups are told"] * (len(groups) > MAX_GROUPS)
    if not cards and not said:
        return None
    said = said[:MAX_SAID] + [f"and {len(said) - MAX_SAID} more"] * (len(said) > MAX_SAID)
    return Section("history", "History", {"cards": cards, "said": said, "meanings": MEANINGS})


def _card(group: Mapping[str, Any], key: str, most: int) -> dict[str, Any]:
    rows = list(enumerate(rows_at(group, "rows")))
    shown = rows[len(rows) - min(most, len(rows)) :]
    names = [words_at(group, name, limit=60) for name in ("recipe", "variant", "engine", "precision")]
    metric = words_at(group, "metric", limit=60)
    cells = [_cells(row, f"{key}.rows.{place}") for place, row in shown]
    caption = f"{len(shown)} of {len(rows)} results, the newest" if len(shown) < len(rows) else f"{len(rows)} results"
    table = Table(HEADER, cells, caption, frozenset({2, 3, 4, 5, 6, 7, 8}))
    charts = [_figures(metric, shown, key), _speeds(shown, key)]
    drawn = [chart for chart in charts if chart is not None]
    return {"name": " ".join(filter(None, names)), "table": table, "charts": drawn, "count": len(shown)}


def _cells(row: Mapping[str, Any], key: str) -> list[Cell]:
    digits = 2 if at(row, "unit") == "percent" else 4
    verdict, change = words_at(row, "verdict", limit=40), words_at(row, "change", "verdict", limit=40)
    low, high = _interval(row)
    drop = figure(number_at(row, "drop", "value"), 2, f"{key}.drop.value")
    unit = {"percent_of_reference": " %", "points": " points"}.get(words_at(row, "drop", "unit"), "")
    return [
        Cell(words_at(row, "started", limit=40)[:16].replace("T", " "), f"{key}.started"),
        Cell(verdict, f"{key}.verdict", TONES.get(verdict, "")),
        figure(number_at(row, "n"), 0, f"{key}.n"),
        figure(number_at(row, "value"), digits, f"{key}.value"),
        figure(low, digits, f"{key}.interval.0"),
        figure(high, digits, f"{key}.interval.1"),
        Cell(drop.text + unit, drop.key) if drop.key else drop,
        figure(number_at(row, "samples_per_second"), 1, f"{key}.samples_per_second"),
        figure(number_at(row, "change", "change"), digits, f"{key}.change.change"),
        Cell(change, f"{key}.change.verdict", CERTAIN[change][2] if change in CERTAIN else ""),
        Cell(words_at(row, "version", limit=40), f"{key}.version"),
        Cell(words_at(row, "command", limit=300), f"{key}.command"),
    ]


def _figures(metric: str, shown: Sequence[tuple[int, Mapping[str, Any]]], key: str) -> Chart | None:
    moments, unit = list[Moment](), ""
    for place, row in shown:
        when, value = _when(row), number_at(row, "value")
        if when is None or value is None or words_at(row, "metric", limit=60) != metric:
            continue
        unit = words_at(row, "unit", limit=40)
        change = words_at(row, "change", "verdict", limit=40)
        moments.append(Moment(when, value, *_interval(row), change, f"{key}.rows.{place}.value"))
    return timeline(f"{metric} over time", f"{metric}, {unit}", moments, 2 if unit == "percent" else 4)


def _speeds(shown: Sequence[tuple[int, Mapping[str, Any]]], key: str) -> Chart | None:
    moments = [
        Moment(when, speed, key=f"{key}.rows.{place}.samples_per_second")
        for place, row in shown
        if (when := _when(row)) is not None and (speed := number_at(row, "samples_per_second")) is not None
    ]
    return timeline("Throughput over time", "samples/s, end to end", moments)


def _interval(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    ends = numbers_at(row, "interval")
    return (ends[0], ends[1]) if ends is not None and len(ends) == 2 else (None, None)


def _when(row: Mapping[str, Any]) -> datetime | None:
    """Return when a result was started; None for what is no time, or none that a clock shows."""
    try:
        told = datetime.fromisoformat(plain(words_at(row, "started", limit=40)))
        when = (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return when if 1970 <= when.year < 9999 else None
