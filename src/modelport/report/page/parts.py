"""What a page is made of: sections of facts, figures, tables and charts, as values that templates draw.

Text in them is plain text, whoever wrote it: templates escape all of it. Only ``Chart.svg`` is markup, and is drawn by
``report/page/charts`` from numbers and escaped words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from modelport.verdict.words import FAIL, INCOMPLETE, INCONCLUSIVE, PASS

INDEX = re.compile(r"\.(\d+)(?=[.\[]|$)")
TONES = {PASS: "pass", FAIL: "fail", INCONCLUSIVE: "doubt", INCOMPLETE: "doubt"}
"""The tone of a verdict's word; others have none."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a word of a table. ``key`` says where it stands in the result file: "metrics.top1.value"."""

    text: str
    key: str = ""
    tone: str = ""  # pass, fail, doubt or nothing: a colour means one thing on all of the page

    @property
    def place(self) -> str:
        """The key as a path that jq takes: "checks[3].interval" for "checks.3.interval"."""
        return INDEX.sub(r"[\1]", self.key)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; ``numbers`` are the columns that are set to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with what it shows in words, and the numbers behind it."""

    title: str
    svg: Markup
    alternative: str  # for who cannot see it: what it shows, with its ends
    numbers: Table


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page, drawn by ``templates/<template>.html.j2`` with these values."""

    name: str  # of the anchor, and of the template where none is named
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    template: str = ""

    @property
    def file(self) -> str:
        """The template's file."""
        return f"{self.template or self.name}.html.j2"
