"""How fast: the runs' throughputs, the guides' table with published devices beside this machine, and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import listed
from modelport.report.page.cells import figure
from modelport.report.page.found import Found
from modelport.report.page.groups import Group, Member, groups
from modelport.report.page.guides_table import guides_table
from modelport.report.page.parts import Cell, Section, Table
from modelport.report.page.reading import at, number_at, rows_at, texts_at, words_at
from modelport.report.page.speed_charts import charts_of, setting_words

MEANINGS = (
    "End to end: from files on disk to scored answers. Host: tensors in memory to outputs in memory, while images are "
    "read and scored as well; bench: with nothing else going on. Device: on the device alone. Latency: one run of one "
    "batch, host to host."
)


def speed_section(material: Sequence[Found]) -> Section | None:
    """Return the speeds of each model; None where nothing ran."""
    cards = [card for group in groups(material, ("result", "bench", "tune")) if (card := _card(group)) is not None]
    return Section("speed", "Speed", {"cards": cards, "meanings": MEANINGS}) if cards else None


def _card(group: Group) -> dict[str, Any] | None:
    table, said = guides_table(group)
    charts, left_out = charts_of(group)
    tables = [one for one in (_runs(group), table) if one is not None]
    if not tables and not charts:
        return None
    chosen = map(_chosen, group.of("tune"))
    said = [_machines(group), *chosen, *said, *left_out]
    return {"name": group.name, "tables": tables, "charts": charts, "said": [words for words in said if words]}


def _machines(group: Group) -> str:
    """Return what the figures were measured on; of several machines, which on which."""
    found: dict[str, list[str]] = {}
    for member in group.members:
        where = at(member.one.value, "environment")
        cores = number_at(where, "cores")
        if (processor := words_at(where, "processor", limit=80)) and cores is not None:
            found.setdefault(f"{processor}, {cores:g} cores", []).append(f"{member.label}, {member.one.kind}")
    if len(found) == 1:
        return f"Measured on {next(iter(found))}."
    told = "; ".join(f"{machine} ({listed(labels, 4)})" for machine, labels in found.items())
    return f"Measured on several machines, whose speeds cannot be compared: {told}." if told else ""


def _runs(group: Group) -> Table | None:
    """Return the throughputs of each run; None where nothing ran."""
    rows = [row for member in group.of("result") if (row := _run(member)) is not None]
    header = ("run", "batch", "end to end", "host", "device", "latency, median ms", "p99 ms", "runs", "beside it")
    return Table(header, rows, "samples/s of each run", frozenset(range(1, 8))) if rows else None


def _run(member: Member) -> list[Cell] | None:
    value = member.one.value
    told = {name: number_at(value, "throughput", name, "value") for name in ("end_to_end", "host", "device")}
    if all(speed is None for speed in told.values()):
        return None
    latency = at(value, "latency_ms", "host")
    count = number_at(value, "throughput", "end_to_end", "count")
    return [
        Cell(member.label, "engine"),
        figure(number_at(value, "batch"), 0, "batch"),
        *(figure(speed, 1, f"throughput.{name}.value") for name, speed in told.items()),
        *(figure(number_at(latency, name), 2, f"latency_ms.host.{name}") for name in ("median", "p99")),
        figure(count, 0, "throughput.end_to_end.count"),
        Cell("; ".join(texts_at(value, "speed_warnings")), "speed_warnings", "doubt"),
    ]


def _chosen(member: Member) -> str:
    """Return what ``tune`` chose, in words."""
    value: Mapping[str, Any] = member.one.value
    one, speed = at(value, "chosen"), number_at(value, "chosen", "samples_per_second")
    if speed is None:
        return ""
    engine, precision = words_at(one, "engine", limit=40), words_at(one, "precision", limit=40)
    tried = len(rows_at(value, "points"))
    said = f"tune chose {engine} {precision}, {setting_words(one)}"
    return f"{said}: {speed:.1f} samples/s end to end, of {tried} settings tried."
