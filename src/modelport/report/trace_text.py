"""trace.md, drawn from trace.json's value alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelport.report.markdown import code, foreign, number, table

COLUMNS = ("stage", "metric", "source's", "flips", "cosine", "largest", "relative L2", "explained", "verdict")

JUDGED = ("", "verdict", "samples", "figures", "samples/s", "median ms a run")


def render(value: Mapping[str, Any]) -> str:
    """Return the report of one trace."""
    parts = [
        f"# {foreign(value['recipe'])}: {foreign(sentence(value))}",
        f"{value['samples']} samples, engine **{value['engine']}**, precision **{value['precision']}**, "
        f"seed {value['seed']}; {value['runs']} runs to find the node.",
        table(COLUMNS, map(stage_row, value["stages"])),
        *(f"- {foreign(stage['name'])}: {foreign(stage['why'])}" for stage in value["stages"] if stage["why"]),
        *(culprit_text(row) for row in value["culprits"]),
        *applied_text(value.get("applied")),
        *(f"- note: {foreign(note)}" for note in value["notes"]),
    ]
    return "\n\n".join(parts) + "\n"


def nothing_told(value: Mapping[str, Any]) -> bool:
    """Whether no stage is known to depart, and one could not be held against the source."""
    return value["first_bad_stage"] is None and any(one["verdict"] == "inconclusive" for one in value["stages"])


def sentence(value: Mapping[str, Any]) -> str:
    """Return what was found, in one line."""
    bad = value["first_bad_stage"]
    if nothing_told(value):
        unclear = next(one for one in value["stages"] if one["verdict"] == "inconclusive")
        return f"nothing can be told: {unclear['why']}"
    if bad is None:
        return "no stage departs from the source beyond what its precision explains"
    if not value["culprits"]:
        return f"the stage '{bad}' is the first that departs from the source; no single node was found to be the cause"
    first = value["culprits"][0]
    of = f" (module {first['module']})" if first["module"] else ""
    return f"the stage '{bad}' departs from the source, by {first['op']} '{first['node']}'{of}: {first['why']}"


def stage_row(stage: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a stage as a row of COLUMNS."""
    metric, tensors = stage["metric"], stage["tensors"]
    cosine = "–" if tensors["cosine"] is None else f"{tensors['cosine']:.6f}"
    return (
        stage["name"],
        f"{metric['name']} {number(metric['value'])}",
        number(metric["source"]),
        number(metric["flips"]),
        cosine,
        *(error(tensors[name]) for name in ("max_abs", "rel_l2")),
        error(stage["expected_error"]),
        stage["verdict"],
    )


def error(value: float | None) -> str:
    """Return a distance for people; None is an infinite one."""
    return "infinite" if value is None else f"{value:.2g}"


def culprit_text(row: Mapping[str, Any]) -> str:
    """Return a culprit as a paragraph of the report."""
    module = f", module {code(row['module'])}" if row["module"] else ""
    return (
        f"**{foreign(row['op'])} {code(row['node'])}**{module}: local error {error(row['local_error'])}, "
        f"accumulated {error(row['accumulated_error'])}, explained {error(row['expected_error'])}. "
        f"{foreign(row['why'])}. To mend it: {foreign(row['fix'])}"
    )


def applied_text(applied: Mapping[str, Any] | None) -> list[str]:
    """Return what became of ``--apply``, as paragraphs."""
    if applied is None:
        return []
    head = "Repaired" if applied["repaired"] else "Not repaired"
    by = f" by {applied['by']}" if applied["by"] else ""
    told = [f"**{head}**{by}: {foreign(applied['why'])}"]
    if applied["before"] is not None:
        told.append(table(JUDGED, [judged_row(name, applied[name]) for name in ("before", "after")]))
    return told


def judged_row(name: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a judged run as a row of JUDGED."""
    figures = ", ".join(f"{metric} {number(score['value'])}" for metric, score in run["metrics"].items())
    speed = number(run["samples_per_second"], 1)
    return name, run["verdict"], str(run["n"]), figures, speed, number(run["latency_ms"])
