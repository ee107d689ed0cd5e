"""Why: what `trace`, `probe` and `power` found, as a section of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelport.core.errors import DataError, raised_as
from modelport.core.text import listed
from modelport.report.page.cause.power import power_values
from modelport.report.page.cause.probe import probe_values
from modelport.report.page.cause.trace import trace_values
from modelport.report.page.found import Found
from modelport.report.page.parts import Section
from modelport.report.result_folder import FIX, MALFORMED

DRAWN: Mapping[str, Callable[[Found], dict[str, Any]]] = {
    "trace": trace_values,
    "probe": probe_values,
    "power": power_values,
}

# Files that a page, which has 2 MB at most, tells of: one has 110 KB at most.
MOST = 8


def cause_section(material: Sequence[Found]) -> Section | None:
    """Return what each trace, probe and power found. Raises DataError for a file that is not as they write it."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in DRAWN}
    left: list[str] = []
    for one in material:
        if one.kind not in DRAWN:
            continue
        if sum(map(len, found.values())) == MOST:
            left.append(one.name)
            continue
        # OverflowError: an integer beyond float64.
        with raised_as(DataError, f"{one.path}: is not as modelport writes it", FIX, (*MALFORMED, OverflowError)):
            found[one.kind].append(DRAWN[one.kind](one))
    if not any(found.values()):
        return None
    said = f"{MOST} of them are shown; left out: {listed(left, MOST)}." if left else ""
    return Section("cause", "Cause", {f"{kind}s": values for kind, values in found.items()} | {"left": said})
