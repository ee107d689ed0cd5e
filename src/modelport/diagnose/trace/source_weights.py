"""Weights of the source itself that no port can bring right: not finite, or of absurd size."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.diagnose.distance import Distance
from modelport.diagnose.trace.findings import Culprit, Fix, Unit, UnitFound
from modelport.engines.source import Source
from modelport.model.graph.file import read_graph
from modelport.model.graph.weights import findings_of_graph
from modelport.model.weights.health import WeightFinding, findings_of_module

BROKEN = frozenset({"not_finite", "absurd_size"})
FIX = "take another copy of the checkpoint, or an earlier one"


def broken_weights(source: Source) -> tuple[WeightFinding, ...]:
    """Return the source's weights that are not finite or of absurd size; none where it has no weights to be read."""
    if source.network is not None:
        found = findings_of_module(source.network.module)
    elif source.kind == "onnx":
        found = findings_of_graph(read_graph(source.artifact.path))
    else:
        found = ()
    return tuple(finding for finding in found if finding.kind in BROKEN)


def culprits_in(findings: Sequence[WeightFinding]) -> list[Culprit]:
    """Return the culprits that weights are: of each nothing is compared, for the source itself is at fault."""
    return [_culprit(finding) for finding in findings]


def _culprit(finding: WeightFinding) -> Culprit:
    name = finding.tensor
    nothing = Distance(None, 0.0, 0.0)
    found = UnitFound(Unit(name, name, (), (), ()), "weight", name, finding.module, nothing, nothing, 0.0)
    why = f"the source's own weight '{name}' is at fault, not the export: {finding.why}"
    return Culprit(found, why, Fix("checkpoint", FIX), "checkpoint")
