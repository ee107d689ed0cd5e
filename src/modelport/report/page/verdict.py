"""The first screen: did it pass, by how much, how fast, on what, and what was not proved."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.report.page.found import Found
from modelport.report.page.parts import TONES, Cell, Section
from modelport.report.sentence import sentence


def verdict_section(material: Sequence[Found]) -> Section | None:
    """Return a card for each result."""
    cards = [
        {"name": one.name, "verdict": Cell(one.result.verdict, "verdict", TONES.get(one.result.verdict, ""))}
        | {"sentence": Cell(sentence(one.result), "rests_on")}
        for one in material
        if one.result is not None
    ]
    return Section("verdict", "Verdict", {"cards": cards}) if cards else None
