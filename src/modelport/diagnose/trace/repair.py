"""The repair of culprits: the source's nodes in place of the candidate's, or nodes that stay in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelport.core.errors import UsageError
from modelport.diagnose.trace.findings import Culprit
from modelport.model.graph import graft
from modelport.model.graph.precision_plan import PrecisionPlan

if TYPE_CHECKING:
    import onnx


def grafted(candidate: onnx.ModelProto, reference: onnx.ModelProto, culprits: Sequence[Culprit]) -> onnx.ModelProto:
    """Return a copy of ``candidate`` with the source's nodes, attributes and constants at each culprit to be grafted.

    What is still to be judged. Raises UsageError where no culprit is mended so, GraphError where it cannot be done.
    """
    units = {culprit.found.unit.output: culprit.found.unit for culprit in culprits if culprit.fix.kind == "graft"}
    if not units:
        raise UsageError("none of the culprits is mended by the source's nodes", "see the repair that each one names")
    grafts = [
        graft.Graft(unit.nodes, unit.reference_nodes, unit.inputs, unit.output, unit.reference_output)
        for unit in units.values()
    ]
    return graft.grafted(candidate, reference, grafts)


def keep_in_float(culprits: Sequence[Culprit]) -> PrecisionPlan:
    """Return the plan that keeps the nodes of the culprits that lose by their precision in float32.

    The names are those of the float32 graph, as ``--plan`` takes them. Empty where no culprit is mended so.
    """
    names = [name for culprit in culprits if culprit.fix.kind == "keep_in_float" for name in culprit.fix.nodes]
    return PrecisionPlan(dict.fromkeys(names, "fp32"))
