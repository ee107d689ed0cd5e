"""The errors of all nodes as data that Google's Model Explorer lays over the graph."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.artifacts import write_text
from modelport.diagnose.trace.findings import NodesFound, UnitFound
from modelport.model.graph.passing import named_nodes

if TYPE_CHECKING:
    import onnx

# Colours at shares of the largest error, a decade apart: the viewer draws a straight line between two stops, and errors
# range over many powers of ten. It takes them as #rrggbb alone.
GRADIENT = (
    (0.0, "#e8f5e9"), (1e-4, "#c5e1a5"), (1e-3, "#fff59d"), (1e-2, "#ffcc80"), (1e-1, "#ff8a65"), (1.0, "#d50000"),
)  # fmt: skip
ENDLESS = "#880e4f"  # of an error that is not finite, which JSON has no number for
ACCUMULATED = ".accumulated"


def node_data(found: NodesFound, candidate: onnx.ModelProto, *, accumulated: bool) -> dict[str, Any]:
    """Return the relative L2 errors of all units by the ids that Model Explorer's ONNX adapter gives their nodes.

    The form is Model Explorer's "custom node data" of one graph (its ``node_data_builder.GraphNodeData``): ``results``
    by node id, and ``gradient``. Each node of a unit has the unit's error.
    """
    error: Callable[[UnitFound], float] = (
        (lambda unit: unit.accumulated.rel_l2) if accumulated else (lambda unit: unit.local.rel_l2)
    )
    ids = node_ids(candidate)
    results = {ids[name]: _result(error(unit)) for unit in found.units for name in unit.unit.nodes if name in ids}
    stops = [{"stop": stop, "bgColor": colour} for stop, colour in GRADIENT]
    name = f"{'accumulated' if accumulated else 'local'} error (relative L2)"
    return {"name": name, "results": results, "gradient": stops}


def write_explorer(path: Path, found: NodesFound, candidate: onnx.ModelProto) -> tuple[Path, Path]:
    """Write the local errors to ``path`` and the accumulated ones beside it; return both. Raises OutputError.

    The viewer shows one set of data a file: they are opened together, and one is chosen.
    """
    other = path.with_name(f"{path.stem}{ACCUMULATED}{path.suffix}")
    for place, accumulated in ((path, False), (other, True)):
        data = node_data(found, candidate, accumulated=accumulated)
        write_text(place, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path, other


def node_ids(candidate: onnx.ModelProto) -> dict[str, str]:
    """Return the adapter's id of each node by our name of it.

    The adapter's ids are the file's own names, after the NameFixPass of onnx-ir has named those without (``node``) and
    told those apart that stand twice (``NAME_1``). In a file with functions only nodes with a name of their own are
    told: units are of the graph with these inlined, where a name that was made counts other nodes.
    """
    own = named_nodes(candidate)
    taken: set[str] = set()
    counts: dict[str, int] = {}
    ids = {}
    for name, node in zip(own, candidate.graph.node, strict=True):
        wanted = node.name or "node"
        made = wanted
        while made in taken:
            counts[wanted] = counts.get(wanted, 0) + 1
            made = f"{wanted}_{counts[wanted]}"
        taken.add(made)
        if name == node.name or not candidate.functions:
            ids[name] = made
    return ids


def _result(error: float) -> dict[str, Any]:
    return {"value": error} if math.isfinite(error) else {"value": "not finite", "bgColor": ENDLESS}
