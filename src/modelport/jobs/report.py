"""``report``: one self-contained page over results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_text
from modelport.core.errors import DataError, OutputError, raised_as
from modelport.core.progress import Progress, stage
from modelport.report.page.draw import page
from modelport.report.page.found import Found, found
from modelport.report.result_folder import FIX, MALFORMED


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What ``modelport report`` is asked for."""

    results: Sequence[Path]
    out: Path
    title: str = "modelport"
    force: bool = False


def report(request: ReportRequest, progress: Progress) -> dict[str, Any]:
    """Write the page; return its path and what it was drawn from (schema ``modelport.report/1``).

    Raises UsageError for what is no result, DataError for a damaged one, OutputError where it cannot be written.
    """
    if request.out.exists() and not request.force:
        raise OutputError(f"{request.out} exists", "choose another --out, or replace it: --force")
    with stage(progress, "read the results"):
        material = found(request.results)
    with stage(progress, "draw the page"):
        text = _drawn(material, request.title)
    write_text(request.out, text)
    drawn = [{"kind": one.kind, "path": str(one.path), "name": one.name} for one in material]
    return {"schema": "modelport.report/1", "out": str(request.out), "bytes": len(text.encode()), "results": drawn}


def _drawn(material: Sequence[Found], title: str) -> str:
    """Return the page. Raises DataError, naming the file, where one holds values of another form than modelport's."""
    try:
        return page(material, title)
    except MALFORMED:
        for one in material:
            with raised_as(DataError, f"{one.path}: is not as modelport writes it", FIX, MALFORMED):
                page([one], title)
        raise
