"""SimCLR end to end, random views made on the way, against pure inference at fp32.

Usage: python benchmarks/simclr_pipeline.py [--count 4000] [--rounds 3] [--json FILE]. Exit code 1 below 0.5.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.data.drawn.cifar10 import draw_cifar10
from modelport.engines.base import Build, Launch
from modelport.engines.registry import get_engine, opened
from modelport.jobs.run import RunRequest, run
from modelport.measure.in_flight import chosen, probe_concurrency
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure
from modelport.model.graph.export import DEFAULT_OPSET
from modelport.model.source import load_source
from modelport.recipes.load import load_recipe
from modelport.report.result import environment
from modelport.stages.export import export_checked
from modelport.stages.plan import Wish
from sides import seeded_weights

BAR = 0.5
RECIPE = load_recipe("simclr")
ENGINE = "openvino"


def exported(folder: Path) -> Artifact:
    """Return the network with random weights as ONNX."""
    source = load_source(RECIPE, seeded_weights(RECIPE, folder / "w.pth"))
    return export_checked(source, folder / "m.onnx", DEFAULT_OPSET, None, Silent())[0]


def main() -> None:
    """Measure both sides in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_cifar10(folder / "data", count=options.count, train=100)
        model, engine = exported(folder), get_engine(ENGINE)
        how = Build(RECIPE, "fp32", RECIPE.run.batch)
        launch = Launch(in_flight=chosen(probe_concurrency(engine, model, how, Launch(), 1.0)))
        for turn in range(options.rounds):
            with opened(engine, model, how, launch) as runner:
                inputs = random_inputs(runner.signature.with_batch(RECIPE.run.batch), RECIPE, 0)
                load = Load(runner, inputs.buffers, RECIPE.run.batch, runner.concurrency, options.duration)
                pure = measure(load).timed.samples_per_second
            wish = Wish(ENGINE, in_flight=launch.in_flight)
            request = RunRequest(
                "simclr", folder / "data", folder / f"out{turn}", model=model.path, wish=wish, force=True
            )
            pairs.append((run(request, Silent()).samples_per_second or 0.0, pure))
    ratio = statistics.median(mine / other for mine, other in pairs)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    row = {
        "name": "simclr fp32: end to end over pure inference",
        "ours": statistics.median(mine for mine, _ in pairs),
        "theirs": statistics.median(other for _, other in pairs),
        "ratio": ratio,
        "bar": BAR,
        "met": ratio >= BAR,
        "unit": "views/s",
        "rounds": pairs,
        "batch": RECIPE.run.batch,
        "in_flight": launch.in_flight,
        "peak_mib": usage.ru_maxrss / 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": environment(),
    }
    print(f"{row['name']:<44} {row['ours']:8.1f} / {row['theirs']:8.1f} views/s  ratio {ratio:.3f} (bar {BAR})")
    if options.json:
        options.json.write_text(json.dumps([row], indent=2) + "\n")
    sys.exit(0 if row["met"] else 1)


if __name__ == "__main__":
    main()
