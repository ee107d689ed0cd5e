"""What SimCLR's short training on samples gains: contrastive_top1 of the trained and of the untrained network.

Usage: python benchmarks/simclr_training.py [--seeds 0 1 2] [--json FILE]. Takes about four minutes; fails where a seed
gains less than 10 points.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import modelport as mp
from verbs import verb

WANTED_POINTS = 10.0
RECIPE = mp.load_recipe("simclr")


def top1(weights: Path, data: Path) -> float:
    """Return contrastive_top1 in percent over the whole blocks of the test batch, its views drawn by seed 0."""
    answers = mp.answer(mp.source(RECIPE, weights), mp.open_dataset(RECIPE, data))
    return mp.judge(RECIPE, answers).metrics["contrastive_top1"].value


def measure(seed: int, folder: Path) -> dict[str, float]:
    """Draw data, train on its training batches, and score both networks on its test batch."""
    data = folder / "data"
    verb("samples", "data", "cifar10", "--out", data, "--seed", seed)
    start = time.perf_counter()
    verb("samples", "weights", "simclr", "--data", data, "--out", folder / "w.pth", "--seed", seed)
    seconds = time.perf_counter() - start
    trained = top1(folder / "w.pth", data)
    untrained = top1(mp.random_weights(RECIPE, folder / "random.pth", seed), data)
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
