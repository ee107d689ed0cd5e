"""What SimCLR's short training on samples gains: contrastive_top1 of the trained and of the untrained network.

Usage: python benchmarks/simclr_training.py [--seeds 0 1 2] [--json FILE]. Takes about four minutes; fails where a seed
gains less than 10 points.
"""

from __future__ import annotations

import modelport  # noqa: F401  before any vendor's package: it switches their telemetry off

# isort: split
import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modelport.core.progress import Silent
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.jobs.samples import make_data, make_weights
from modelport.model.architectures import build_random
from modelport.model.source import load_source
from modelport.recipes.load import load_recipe
from modelport.tasks.contrastive.pairs import hits

WANTED_POINTS = 10.0
ROWS = 256  # 128 pairs, the block that is scored
RECIPE = load_recipe("simclr")
INPUT = RECIPE.tensors.inputs[0].name


def top1(module: nn.Module, data: Path) -> float:
    """Return contrastive_top1 in percent over the whole blocks of the test batch, its views drawn by seed 0."""
    found = []
    for batch in feed(RECIPE, open_dataset(RECIPE.dataset, data), ROWS, seed=0):
        if len(batch.ids) == ROWS:
            with torch.inference_mode():
                found.append(hits(module(torch.from_numpy(batch.inputs[INPUT])).numpy()))
    return 100.0 * float(np.mean(found))


def measure(seed: int, folder: Path) -> dict[str, float]:
    """Draw data, train on its training batches, and score both networks on its test batch."""
    make_data("cifar10", folder / "data", None, seed, Silent())
    start = time.perf_counter()
    make_weights("simclr", folder / "data", folder / "w.pth", seed, Silent())
    seconds = time.perf_counter() - start
    trained = top1(load_source(RECIPE, folder / "w.pth").module, folder / "data")
    untrained = top1(build_random(RECIPE.network, seed).eval(), folder / "data")
    return {"seed": seed, "seconds": seconds, "trained": trained, "untrained": untrained, "gain": trained - untrained}


def main() -> None:
    """Measure every seed and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as name:
            rows.append(measure(seed, Path(name)))
        print("  ".join(f"{key} {value:g}" for key, value in rows[-1].items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    if min(row["gain"] for row in rows) < WANTED_POINTS:
        raise SystemExit(f"a seed gains less than {WANTED_POINTS} points")


if __name__ == "__main__":
    main()
