"""The repair of culprits: the source's nodes in place of the candidate's, or nodes that stay in float32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.errors import GraphError, UsageError
from modelport.diagnose.trace.causes import WHOLE, paired_tensors
from modelport.diagnose.trace.findings import Culprit, Unit, UnitFound
from modelport.engines.registry import ENGINES, get_engine
from modelport.model.graph import graft
from modelport.model.graph.file import opset_of
from modelport.model.graph.opset import to_opset
from modelport.model.graph.precision_plan import PrecisionPlan, resolve

if TYPE_CHECKING:
    import onnx


def grafted(
    candidate: onnx.ModelProto,
    reference: onnx.ModelProto,
    culprits: Sequence[Culprit],
    units: Iterable[UnitFound] = (),
) -> onnx.ModelProto:
    """Return a copy of ``candidate`` with the source's nodes, attributes and constants at each culprit to be grafted.

    ``units`` are all that the comparison found: they tell where the candidate has what the source's nodes read, and the
    units of a culprit that stands for several. Where the source's nodes are of a newer opset, so is the result, by
    ONNX's own converter. It is still to be judged. Raises UsageError where no culprit is mended so, GraphError where it
    cannot be done.
    """
    mended = [culprit for culprit in culprits if culprit.fix.kind == "graft"]
    if not mended:
        raise UsageError("none of the culprits is mended by the source's nodes", "see the repair that each one names")
    known = [*units, *(culprit.found for culprit in mended)]
    places = {theirs: mine for mine, theirs in paired_tensors(known).items()}
    chosen = {}
    for culprit in mended:
        for unit in _units_of(culprit, known):
            own = (unit.nodes, unit.reference_nodes, places, unit.output, unit.reference_output)
            chosen[unit.output] = graft.Graft(*own, whole=culprit.kind in WHOLE)
    try:
        return graft.grafted(candidate, reference, list(chosen.values()))
    except GraphError:
        opset = opset_of(reference)
        if opset_of(candidate) >= opset:
            raise
        # The source's operators may be newer than the file's opset.
        newer = to_opset(candidate, opset, Path("the file"))
        return graft.grafted(newer, reference, list(chosen.values()))


def _units_of(culprit: Culprit, known: Sequence[UnitFound]) -> list[Unit]:
    """Return the units to be mended: those whose nodes the repair names, and others that depart by the same node."""
    own, asked = culprit.found.unit, set(culprit.fix.nodes)
    units = [own] if asked == set(own.nodes) else [one.unit for one in known if asked.issuperset(one.unit.nodes)]
    about = {found.node for found in known if found.unit in units and found.departs}
    # What was joined to a unit is in it already.
    inside = {name for unit in units for name in unit.nodes}
    others = [one.unit for one in known if one.departs and one.node in about and not inside.issuperset(one.unit.nodes)]
    return list(dict.fromkeys([*units, *others]))


def keep_in_float(culprits: Sequence[Culprit]) -> PrecisionPlan:
    """Return the plan that keeps the nodes of the culprits that lose by their precision in float32.

    The names are those of the float32 graph, as ``--plan`` takes them. Empty where no culprit is mended so.
    """
    names = [name for culprit in culprits if culprit.fix.kind == "keep_in_float" for name in culprit.fix.nodes]
    return PrecisionPlan(dict.fromkeys(names, "fp32"))


def compilers_plans(plan: PrecisionPlan, model: onnx.ModelProto) -> dict[str, str]:
    """Return the plan in the files that compilers of the vendors' own take, text by name.

    ``model`` is the float32 graph. Raises GraphError for nodes that it does not have.
    """
    resolved = resolve(plan, model, "the plan")
    engines = map(get_engine, ENGINES)
    return {f"{one.name}.{name}": text for one in engines for name, text in one.plan_texts(resolved).items()}
