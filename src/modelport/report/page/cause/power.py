"""A power run: which planted faults would have been noticed, by what they cost, and the smallest drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain
from modelport.report.page.cause.telling import cut, notes
from modelport.report.page.found import Found
from modelport.report.page.parts import TONES, Cell, Table

FAULTS = 100
FILE = "power.json"
# What power.json says of a fault that changed no output.
UNCHANGED = "no output changed"
WORDS: Mapping[bool | None, tuple[str, str]] = {
    True: ("noticed", "pass"),
    False: ("missed", "fail"),
    None: ("by chance", "doubt"),
}


def power_values(found: Found) -> dict[str, Any]:
    """Return what the template draws of one power run. Raises what malformed values raise."""
    value = found.value
    tolerance = value["tolerance"]
    unit = "% of the source's figure" if tolerance["unit"] == "percent_of_reference" else "points"
    smallest = value["smallest_noticed_drop"]
    least = "no drop was noticed" if smallest is None else f"every drop from {smallest:.3g} {unit} on was noticed"
    told = f"{value['noticed']} of {value['planted']} planted faults would have been noticed, {value['missed']} missed"
    setting = f"tolerance {tolerance['value']:g} {unit}, {value['n']} samples, engine {value['engine']}"
    return {
        "name": found.name,
        "sentence": Cell(cut(f"{told}, {value['by_chance']} by chance"), _key("noticed")),
        "least": Cell(cut(least), _key("smallest_noticed_drop")),
        "setting": Cell(cut(setting), _key("tolerance")),
        "healthy": Cell(
            plain(value["healthy"]["verdict"], 40),
            _key("healthy.verdict"),
            TONES.get(value["healthy"]["verdict"], ""),
        ),
        "table": _table(value["faults"], unit),
        "more": max(0, len(value["faults"]) - FAULTS),
        "notes": notes(FILE, value["notes"]),
    }


def _table(rows: Sequence[Mapping[str, Any]], unit: str) -> Table:
    """Return the faults, the largest loss first; those that nobody could measure a loss of last."""
    order = sorted(enumerate(rows), key=lambda pair: (pair[1]["drop"] is None, -(pair[1]["drop"] or 0.0), pair[0]))
    shown = [
        [
            _word(row, f"faults.{place}"),
            Cell("–" if row["drop"] is None else f"{row['drop']:.3g}", _key(f"faults.{place}.drop")),
            Cell(plain(row["kind"], 60), _key(f"faults.{place}.kind")),
            Cell(plain(row["where"], 120), _key(f"faults.{place}.where")),
            Cell(f"{row['size']:g}", _key(f"faults.{place}.size")),
            Cell(plain(row["by"], 160), _key(f"faults.{place}.by")),
            Cell(plain(row.get("about", ""), 160), _key(f"faults.{place}.about")),
        ]
        for place, row in order[:FAULTS]
    ]
    header = ("", f"drop, {unit}", "fault", "where", "size", "noticed by", "what was done")
    return Table(header, shown, "Planted faults, the largest loss first", frozenset({1, 4}))


def _word(row: Mapping[str, Any], key: str) -> Cell:
    word, tone = WORDS[row["noticed"]] if row["by"] != UNCHANGED else ("no effect", "")
    return Cell(word, _key(f"{key}.noticed"), tone)


def _key(name: str) -> str:
    return f"{FILE}: {name}"
