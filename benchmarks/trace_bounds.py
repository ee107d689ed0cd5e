"""What precision explains of a unit, against what healthy pairs of graphs were seen to do: where the margins come from.

Usage: python benchmarks/trace_bounds.py [--networks NAME…] [--work DIR]. A few minutes for the ResNet-18, which is all
that 8 bits and other opsets are tried on; each of the recipes' own graphs is written in every healthy form.

Printed are a unit's own error as a share of what is explained: its quantiles by precision and operator, and the
largest by precision. Above 1 it would be a false alarm: then the exit code is 1. The margins of
``modelport.diagnose.trace.bounds`` leave a factor.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import modelport as mp
from modelport.diagnose.faults.healthy import HEALTHY
from modelport.diagnose.trace.bounds import MARGIN
from modelport.diagnose.trace.nodes import examine
from planted_networks import OWN, SMALL, Small, inputs_of, need, own, small

OPSETS = (11, 13, 17, 21)
QUANTILES = (0.5, 0.9, 0.99, 1.0)
SAMPLES = 4
FEWEST = 3  # units of an operator that have a row of their own

Pair = tuple[str, str, onnx.ModelProto, onnx.ModelProto]  # what it is, precision, reference, candidate


def forms(name: str, graph: onnx.ModelProto) -> Iterator[Pair]:
    """Yield a graph written in every healthy form."""
    for form in HEALTHY:
        if (made := form.made(graph)) is not None:
            yield f"{name}, {form.kind}", "fp32", graph, made


def ports(made: Small) -> Iterator[Pair]:
    """Yield the ResNet-18 at other opsets, and in float16 and 8 bits as ONNX Runtime takes them."""
    graph = onnx.load(str(made.graph))
    for opset in OPSETS:
        path = made.folder / f"small-{opset}.onnx"
        if not path.is_file():
            need("export", made.recipe, "--weights", made.weights, "--opset", opset, "--out", path)
        yield f"{SMALL}, opset {opset}", "fp32", graph, onnx.load(str(path))
    source = mp.source(mp.load_recipe(str(made.recipe)), made.weights)
    for precision in ("fp16", "int8"):
        images = made.data / "train" if precision == "int8" else None
        built = mp.build(source, "onnxruntime", precision, calibration=images)
        lowered = built.port.trail.artifacts[2]  # behind the checkpoint and the exported graph
        yield f"{SMALL}, {precision}", precision, graph, onnx.load(str(lowered.path))


@cache
def samples(made: Small) -> dict[str, np.ndarray[Any, Any]]:
    """Return a few images as the recipe prepares them: what 8 bits were calibrated for."""
    recipe = mp.load_recipe(str(made.recipe))
    batch = next(iter(mp.batches(recipe, mp.open_dataset(recipe, made.data), SAMPLES)))
    return dict(batch.inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=[SMALL, *OWN[:-1]], choices=[SMALL, *OWN])
    parser.add_argument("--work", type=Path, default=Path("build/planted"))
    words = parser.parse_args()
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    alarms = 0
    for name in words.networks:
        made = small(words.work / "small") if name == SMALL else None
        graph = onnx.load(str(made.graph if made else own(name, words.work / "own")))
        for what, precision, reference, candidate in (*forms(name, graph), *(ports(made) if made else ())):
            found = examine(reference, candidate, samples(made) if made else inputs_of(reference), None, precision)
            for unit in found.units:
                shares[precision, unit.op].append(unit.local.rel_l2 / unit.expected)
            worst = max(found.units, key=lambda unit: unit.excess)
            alarms += len(found.departed)
            print(
                f"{what}: {len(found.units)} units, the worst {worst.excess:.3f} ({worst.op} {worst.node})", flush=True
            )
    print(f"\nmargins: {MARGIN}\n{'precision and operator':32}{'units':>7}" + "".join(f"{q:>8.0%}" for q in QUANTILES))
    for (precision, op), values in sorted(shares.items()):
        moved = [value for value in values if value > 0]
        if len(moved) >= FEWEST:
            told = "".join(f"{value:8.3f}" for value in np.quantile(moved, QUANTILES))
            print(f"{precision + ' ' + op:32}{len(moved):7}{told}")
    for precision in sorted({precision for precision, _ in shares}):
        largest, op = max((max(values), op) for (one, op), values in shares.items() if one == precision)
        print(f"the largest share in {precision}: {largest:.3f} ({op})")
    print(f"false alarms: {alarms}")
    sys.exit(1 if alarms else 0)


if __name__ == "__main__":
    main()
