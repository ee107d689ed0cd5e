"""Which node a unit is about: the one to name to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from modelport.diagnose.trace.findings import Unit
from modelport.diagnose.trace.sides import TRANSPARENT
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.quantizable import HEAVY

# They give whole numbers or truth: a cast of these loses nothing.
WHOLE = frozenset({"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "Equal", "Less", "Greater", "And", "Or", "Not"})
CUT = frozenset({"Relu", "Clip"})
# What is folded into a layer before it.
FOLDED = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div"})


def about(mine: Flow, theirs: Flow, unit: Unit, unrounded: bool) -> tuple[Step, bool]:
    """Return the step that a unit is about, and whether it is one of the reference that the candidate has not.

    Where one side has an operator more and all the others alike, it is that; else the layer with the arithmetic; else
    the last one. What can be folded into a layer before it is not missing there. ``unrounded``: nothing is to be cast
    or quantized here, so that what does it is more than the reference has.
    """
    have, wanted = _plain_steps(mine, unit.nodes), _plain_steps(theirs, unit.reference_nodes)
    if unrounded and (lossy := _lossy(mine, unit.nodes)) and not _lossy(theirs, unit.reference_nodes):
        return lossy[0], False
    ops, their_ops = Counter(step.op for step in have), Counter(step.op for step in wanted)
    heavy = [step for step in have if step.op in HEAVY]
    added, missing = ops - their_ops, their_ops - ops
    if added and wanted and not missing:
        return next(step for step in reversed(have) if step.op in added), False
    if missing and not added:
        gone = [step for step in wanted if step.op in missing]
        # An activation that only cuts off is part of quantizing, where that follows.
        gone = [step for step in gone if step.op not in CUT] or gone
        if not heavy or not all(_may_be_folded(step, wanted) for step in gone):
            return gone[-1], True
    if not have:
        return mine.steps_named(unit.nodes)[-1], False
    return (heavy or [step for step in have if unit.output in step.gives] or have)[-1], False


def _may_be_folded(step: Step, steps: Sequence[Step]) -> bool:
    return step.op in FOLDED and any(other.op in HEAVY and other.index < step.index for other in steps)


def _lossy(flow: Flow, names: Sequence[str]) -> list[Step]:
    """Return the steps of a unit that bring floats to a type of fewer digits."""
    from onnx import TensorProto

    wide = (TensorProto.FLOAT, TensorProto.DOUBLE)
    found = []
    for step in flow.steps_named(names):
        source = step.node.input[0] if step.node.input else ""
        to = next((attribute.i for attribute in step.node.attribute if attribute.name == "to"), TensorProto.FLOAT)
        narrow = step.op == "QuantizeLinear" or (step.op == "Cast" and to not in wide)
        maker = flow.maker.get(source)
        whole = maker is not None and maker.op in WHOLE
        if narrow and source not in flow.fixed and not whole:
            found.append(step)
    return found


def _plain_steps(flow: Flow, names: Sequence[str]) -> list[Step]:
    """Return the steps of a unit that an input has a part in and that do more than to hand on."""
    return [
        step for step in flow.steps_named(names) if step.op not in TRANSPARENT and not flow.fixed.issuperset(step.gives)
    ]
