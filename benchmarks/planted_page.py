"""The page of the planted faults: shares against their bars, a table by kind, and those that were missed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import modelport as mp
from planted_trials import Row

Question = Callable[[Row], bool | None]
# (what, of which rows, asked, bar in percent).
BARS: tuple[tuple[str, Callable[[Row], bool], Question, float], ...] = (
    ("faults noticed", lambda row: _is_fault(row), lambda row: row.noticed, 95.0),
    ("graph and weights: traced to the very node", lambda row: row.what == "graph", lambda row: row.localised, 90.0),
    ("settings named", lambda row: row.what == "knob", lambda row: row.named, 90.0),
    ("faults repaired, and the repair judged", lambda row: _is_fault(row), lambda row: row.repaired, 75.0),
    ("healthy ports of which nothing is said", lambda row: not _is_fault(row), lambda row: not row.noticed, 100.0),
)


def _is_fault(row: Row) -> bool:
    return row.what in ("graph", "knob")


def figures(rows: Sequence[Row]) -> list[tuple[str, int, int, float]]:
    """Return what was asked, how often it holds, of how many, and the bar in percent."""
    found = []
    for what, of, asked, bar in BARS:
        chosen = [row for row in rows if of(row)]
        if chosen:
            found.append((what, sum(bool(asked(row)) for row in chosen), len(chosen), bar))
    return found


def missed(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    """Return the rows of which something does not hold, with what."""
    found = []
    for row in rows:
        if not _is_fault(row):
            words = ["false alarm"] if row.noticed else []
        else:
            asked = {"not noticed": row.noticed, "not localised": row.localised, "not named": row.named}
            words = [word for word, answer in asked.items() if answer is False]
            words = words[:1] or (["not repaired"] if row.repaired is False else [])
        found += [(word, row) for word in words]
    return found


def page(rows: Sequence[Row], seconds: float, part: str) -> str:
    """Return docs/planted-faults.md."""
    machine = mp.environment()
    faults = [row for row in rows if _is_fault(row)]
    kinds = {row.kind for row in faults}
    shares = [f"{_share(faults, family)} % {word}" for word, family in (
        ("graph", "graph"), ("weights", "weights"), ("input", "input"), ("preprocessing", "preprocessing"),
        ("labels", "labels"))]  # fmt: skip
    lines = [
        "# Planted faults",
        "",
        "Written by `make planted` (`benchmarks/planted_faults.py`). Faults that ports are known to have are planted,",
        "one at a time, into the graphs of the five recipes that modelport has of its own (random weights) and into",
        "ResNet-18s of 96 pixels; then `trace`, or `probe`, is asked what is wrong. Graph and weights are those of one",
        "that was fitted on drawn images; settings are planted into one that was trained on fine textures: it minds",
        "how an image is resized and cut; from a network that hardly does, nothing can be told of such a setting.",
        "Kinds and shares follow studies of model converters: Jajal and others (ISSTA 2024) place three quarters of",
        "the defects in the conversion of nodes; Louloudakis and others (FetaFix, 2023) name input, preprocessing,",
        "weights, hyperparameters and the graph. A fault that changes no bit of any answer is drawn",
        "again; a setting that changes fewer than 2 of 100 answers is left out.",
        "",
        "On the ResNet-18 each fault goes through `modelport trace --apply` or `modelport probe`; on the recipes' own",
        "graphs the two graphs are compared on one sample, and the repaired one is judged by its answers, or, where",
        "those are an order of near-equal scores, node by node again. A place is",
        "right where the first culprit is the planted node, a node that was put before or behind it, or, where a node",
        "was taken away, one that took its output. A setting is named where it is the explanation, or among those that",
        "the explanation is told not to be told apart from.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine['processor']}, {machine['cores']} cores; {part}, {len(faults)} faults",
        f"of {len(kinds)} kinds ({', '.join(shares)}), {len(rows) - len(faults)} healthy ports; "
        f"{seconds / 60:.0f} minutes.",
        "",
        "| what | holds | of | share | bar | met |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *(
            f"| {what} | {hits} | {count} | {100 * hits / count:.1f} % | {bar:g} % | "
            f"{'yes' if 100 * hits >= bar * count else '**no**'} |"
            for what, hits, count, bar in figures(rows)
        ),
        "",
        "## By kind",
        "",
        "| kind | family | planted | noticed | place or setting | repaired |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *_by_kind(faults),
        "",
        "## What was missed",
        "",
        *_missed_lines(rows),
        "",
    ]
    return "\n".join(lines)


def _share(rows: Sequence[Row], family: str) -> int:
    return round(100 * sum(row.family == family for row in rows) / max(len(rows), 1))


def _by_kind(rows: Sequence[Row]) -> list[str]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.family, row.kind].append(row)
    lines = []
    for (family, kind), own in sorted(found.items()):
        placed = sum(bool(row.localised or row.named) for row in own)
        noticed, repaired = (sum(bool(answer) for answer in answers) for answers in (
            [row.noticed for row in own], [row.repaired for row in own]))  # fmt: skip
        lines.append(f"| {kind} | {family} | {len(own)} | {noticed} | {placed} | {repaired} |")
    return lines


def _missed_lines(rows: Sequence[Row]) -> list[str]:
    found = missed(rows)
    if not found:
        return ["Nothing."]
    lines = [
        "| what | kind | network | where | what was planted | what was said |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for word, row in found:
        said = row.found.replace("|", "/").replace("\n", " ")[:240]
        lines.append(f"| {word} | {row.kind} | {row.network} | `{row.where}` | {row.about} | {said} |")
    return lines
