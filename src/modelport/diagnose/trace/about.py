"""Which node a unit is about: the one to name to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from modelport.diagnose.trace.findings import Unit
from modelport.diagnose.trace.pairing import TRANSPARENT
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.quantizable import HEAVY

# What is folded into a layer before it.
FOLDED = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div"})


def about(mine: Flow, theirs: Flow, unit: Unit) -> tuple[Step, bool]:
    """Return the step that a unit is about, and whether it is one of the reference that the candidate has not.

    Where one side has an operator more and all the others alike, it is that; else the layer with the arithmetic; else
    the last one. What can be folded into a layer (a batch norm, a bias) is not missing beside one.
    """
    have, wanted = _plain_steps(mine, unit.nodes), _plain_steps(theirs, unit.reference_nodes)
    ops, their_ops = Counter(step.op for step in have), Counter(step.op for step in wanted)
    heavy = [step for step in have if step.op in HEAVY]
    added, missing = ops - their_ops, their_ops - ops
    if added and wanted and not missing:
        return next(step for step in reversed(have) if step.op in added), False
    if missing and not added and not (heavy and FOLDED.issuperset(missing)):
        return next(step for step in reversed(wanted) if step.op in missing), True
    if not have:
        return _steps(mine, unit.nodes)[-1], False
    return (heavy or [step for step in have if unit.output in step.gives] or have)[-1], False


def _steps(flow: Flow, names: Sequence[str]) -> list[Step]:
    wanted = set(names)
    return [step for step in flow.steps if step.name in wanted]


def _plain_steps(flow: Flow, names: Sequence[str]) -> list[Step]:
    """Return the steps of a unit that an input has a part in and that do more than to hand on."""
    return [
        step for step in _steps(flow, names) if step.op not in TRANSPARENT and not flow.fixed.issuperset(step.gives)
    ]
