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
from dataclasses import replace
from pathlib import Path

import modelport as mp
from modelport.measure.in_flight import chosen, probe_concurrency
from verbs import pure, run, setting, speed, verb

BAR = 0.5
RECIPE = mp.load_recipe("simclr")
BATCH = RECIPE.run.batch


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
        verb("samples", "data", "cifar10", "--out", folder / "data", "--count", options.count)
        source = mp.source(RECIPE, mp.random_weights(RECIPE, folder / "w.pth"))
        wish = mp.Wish("openvino", "fp32")
        wish = replace(wish, in_flight=chosen(probe_concurrency(*mp.build(source, wish=wish).how, 1.0)))
        model = mp.build(source, wish=wish)
        words = ["simclr", "--model", model.path, "--data", folder / "data"]
        words += ["--setting", setting(RECIPE, wish, folder / "setting.toml")]
        for _ in range(options.rounds):
            alone = pure(model, RECIPE, BATCH, options.duration)
            pairs.append((speed(run(*words, out=folder / "out")), alone))
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
        "batch": BATCH,
        "in_flight": wish.in_flight,
        "peak_mib": usage.ru_maxrss / 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": mp.environment(),
    }
    print(f"{row['name']:<44} {row['ours']:8.1f} / {row['theirs']:8.1f} views/s  ratio {ratio:.3f} (bar {BAR})")
    if options.json:
        options.json.write_text(json.dumps([row], indent=2) + "\n")
    sys.exit(0 if row["met"] else 1)


if __name__ == "__main__":
    main()
