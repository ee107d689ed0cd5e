"""The guides' table: samples/s by batch as measured, and beside it what is published of devices, each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelport.report.page.cells import MISSING
from modelport.report.page.groups import Group, Member
from modelport.report.page.parts import Cell, Table
from modelport.report.page.reading import number_at, rows_at, texts_at, words_at

# Of remarks on single figures, in words below the table; each figure has its own in short.
MOST_REMARKS = 12
# A batch beyond is none that anything ran.
MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Samples/s at one batch. ``doubts`` are (in short, in words)."""

    value: float
    key: str
    printed: str = ""  # where what is published is printed in another unit
    doubts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """Samples/s by batch: as measured, or published of a device."""

    title: str
    speeds: Mapping[int, Speed]
    remarks: Sequence[str] = field(default_factory=tuple)
    source: str = ""  # of what is published

    @property
    def best(self) -> int | None:
        """The batch of the highest figure."""
        return max(self.speeds, key=lambda batch: self.speeds[batch].value, default=None)


def guides_table(group: Group) -> tuple[Table | None, list[str]]:
    """Return the table and what must be said beside it; None where nothing is published, and one batch is all.

    Where there is a bench, the runs' speeds, each at one batch and with images read beside, stay out of it.
    """
    own = [column for column in map(_measured, group.of("bench") or group.of("result")) if column.speeds]
    there = list(_published(group))
    columns = [*own, *there]
    batches = sorted({batch for column in columns for batch in column.speeds})
    if not there and len(batches) < 2:
        return None, []
    rows = [[Cell(f"{batch}"), *(_cell(column, batch) for column in columns)] for batch in batches]
    rows.append([Cell("best"), *map(_best, columns)])
    header = ("batch", *(column.title for column in columns))
    table = Table(header, rows, "samples/s by batch", frozenset(range(1, len(header))))
    return table, [*_compared(own, there), *_remarks(columns)]


def _measured(member: Member) -> Column:
    """Return what a bench, or a run, measured by batch: of several runs in flight the fastest."""
    value, speeds = member.one.value, dict[int, Speed]()
    remarks = texts_at(value, "speed_warnings")
    if member.one.kind == "result":
        batch, speed = batch_of(value), number_at(value, "throughput", "host", "value")
        if batch is not None and speed is not None:
            speeds[batch] = Speed(speed, "throughput.host.value", "", [("see above", "")] * bool(remarks))
        return Column(f"{member.label}, run (host)", speeds)
    for index, point in enumerate(rows_at(value, "points")):
        batch, speed = batch_of(point), number_at(point, "throughput", "value")
        if batch is None or speed is None or (batch in speeds and speeds[batch].value >= speed):
            continue
        speeds[batch] = Speed(speed, f"points.{index}.throughput.value", "", flags_of(point))
    return Column(f"{member.label}, bench", speeds, remarks)


def _published(group: Group) -> Iterator[Column]:
    """Yield what is published of each device, once for each source."""
    met = set()
    for member in group.members:
        key = {"bench": "published", "result": "published_speeds"}.get(member.one.kind, "")
        for place, told in enumerate(rows_at(member.one.value, key)):
            name = words_at(told, "device", limit=40), words_at(told, "source", limit=120)
            if name in met:
                continue
            met.add(name)
            yield _device(told, f"{key}.{place}", *name)


def _device(told: Mapping[str, Any], key: str, device: str, source: str) -> Column:
    speeds, unit = {}, words_at(told, "printed_unit", limit=20)
    other = words_at(told, "unit") != "samples/s"
    for index, row in enumerate(rows_at(told, "figures")):
        batch, speed, printed = batch_of(row), number_at(row, "samples_per_second"), number_at(row, "value")
        if batch is None or speed is None:
            continue
        said = f"printed {printed:g} {unit}" if other and printed is not None else ""
        at = number_at(row, "printed_batch")
        doubts = [*flags_of(row), *([(f"printed as batch {at:g}",) * 2] if at is not None else [])]
        speeds[batch] = Speed(speed, f"{key}.figures.{index}.samples_per_second", said, doubts)
    note = words_at(told, "note")
    remarks = [*([note] if note else []), *(text for _, text in flags_of(told))]
    return Column(f"{device}, published", speeds, remarks, source or "no source told")


def flags_of(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what makes a figure doubtful, in short and in words."""
    told = [(words_at(flag, "short", limit=40), words_at(flag, "text")) for flag in rows_at(value, "flags")]
    return [(brief or text, text or brief) for brief, text in told if brief or text]


def batch_of(value: Mapping[str, Any]) -> int | None:
    """Return the batch of a point or a result; None for what is none."""
    found = value.get("batch")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= MOST_ROWS else None


def _cell(column: Column, batch: int) -> Cell:
    speed = column.speeds.get(batch)
    if speed is None:
        return Cell(MISSING)
    words = [f"{speed.value:.1f}", *(["best"] if batch == column.best and len(column.speeds) > 1 else [])]
    beside = [word for word in (speed.printed, *(brief for brief, _ in speed.doubts)) if word]
    text = " ".join(words) + (f" ({'; '.join(beside)})" if beside else "")
    return Cell(text, speed.key, _tone(column, speed))


def _best(column: Column) -> Cell:
    if column.best is None:
        return Cell(MISSING)
    speed = column.speeds[column.best]
    return Cell(f"{speed.value:.1f} at batch {column.best}", speed.key, _tone(column, speed))


def _tone(column: Column, speed: Speed) -> str:
    return "doubt" if speed.doubts else "published" if column.source else ""


def _compared(own: Sequence[Column], there: Sequence[Column]) -> Iterator[str]:
    """Yield how the best that was measured compares with the best that is published of each device."""
    fastest = max(own, key=lambda column: _top(column)[1], default=None)
    for column in there:
        batch, value = _top(column)
        said = f"{column.title} (not measured here; {column.source})"
        if fastest is not None and value > 0:
            here, mine = _top(fastest)
            said += f": best {value:.1f} samples/s at batch {batch}; the best measured, {mine:.1f} at batch {here} "
            said += f"({fastest.title}), is {mine / value:.3g} times that"
        yield said + "."


def _top(column: Column) -> tuple[int | None, float]:
    return column.best, 0.0 if column.best is None else column.speeds[column.best].value


def _remarks(columns: Sequence[Column]) -> list[str]:
    """Return the doubts in words: those of a whole column, then those of single figures."""
    found = [f"{column.title}: {remark}." for column in columns for remark in column.remarks]
    single = [
        f"{column.title}, batch {batch}: {text}."
        for column in columns
        for batch, speed in column.speeds.items()
        for brief, text in speed.doubts
        if text and text != brief
    ]
    left = len(single) - MOST_REMARKS
    more = [f"{left} more figures have a remark, in short beside them."] if left > 0 else []
    return [*found, *single[:MOST_REMARKS], *more]
