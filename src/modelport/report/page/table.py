"""The sections of a page, in their order: one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelport.report.page.accuracy import accuracy_section
from modelport.report.page.cause import cause_section
from modelport.report.page.found import Found
from modelport.report.page.gallery import gallery_section
from modelport.report.page.history import history_section
from modelport.report.page.parts import Section
from modelport.report.page.provenance import provenance_section
from modelport.report.page.speed import speed_section
from modelport.report.page.verdict import verdict_section

SECTIONS: tuple[Callable[[Sequence[Found]], Section | None], ...] = (
    verdict_section,
    accuracy_section,
    speed_section,
    cause_section,
    gallery_section,
    history_section,
    provenance_section,
)
"""What makes each section of what was found; None where it has nothing to say."""
