"""Claims of `power` from one draw of samples, held against runs on other draws: at least 90 % are confirmed.

Usage: python benchmarks/power_replays.py [--faults 36] [--samples 300] [--others 6] [--seed 0] [--json FILE]. Minutes
on two cores. A ResNet-18 of 32 pixels, fitted to drawn images, and faults planted in it. The claim about each, noticed
or missed, is made on one draw of the samples. Each other draw, of other samples, is a replay: it confirms the claim
where its verdict is as claimed, and 90 % of all replays must. What is told as "by chance", or has no effect, claims
nothing, and is counted apart. Exit code 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import modelport as mp
from modelport.diagnose.asking import Answers, ask
from modelport.diagnose.faults.table import GRAPH_FAULTS
from modelport.diagnose.power.planting import UNCHANGED, FaultyAnswers, Judge, Port
from modelport.diagnose.power.plants import chosen, of_the_port
from modelport.diagnose.power.trial import Trial, part_of
from modelport.verdict.settings import Judging
from planted_networks import moco_of, need

BAR = 0.9


def made(folder: Path, samples: int, seed: int) -> tuple[mp.Recipe, Path, Path]:
    """Return a recipe, fitted weights and drawn data."""
    path = folder / "small.toml"
    path.write_text(moco_of(32, 40, 5.0), encoding="utf-8")
    data, weights = folder / "data", folder / "small.pth.tar"
    need("samples", "data", "imagenet", "--out", data, "--count", samples, "--seed", seed)
    need("samples", "weights", path, "--data", data, "--out", weights)
    return mp.load_recipe(str(path)), weights, data


def judge_of(recipe: mp.Recipe, right: Answers, healthy: Answers, which: Sequence[int], replays: int) -> Judge:
    """Return what judges a run on some of the samples."""
    trial = Trial(recipe, part_of(right, which), Judging(), len(which), full_set=False)
    return Judge.of(trial, part_of(healthy, which), replays)


def claimed(judge: Judge, faulty: FaultyAnswers, which: Sequence[int]) -> bool | None:
    """Return whether a run on some of the samples is said to notice a fault; None where nothing is claimed."""
    own = None if faulty.answers is None else part_of(faulty.answers, which)
    found = judge.judged(FaultyAnswers(faulty.plant, faulty.about, faulty.family, own))
    return None if found.found.by == UNCHANGED else found.noticed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, value in (("--faults", 36), ("--samples", 300), ("--others", 6), ("--seed", 0)):
        parser.add_argument(option, type=int, default=value)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, weights, data = made(folder, asked.samples * (asked.others + 1), asked.seed)
        source = mp.source(recipe, weights)
        model = mp.build(source, "onnxruntime", "fp32")
        engine, _, build, _ = model.how
        graph = onnx.load(str(mp.export(source).path))
        samples = mp.open_dataset(recipe, data)[:]
        port = Port(graph, engine, recipe, build, samples, folder, asked.seed)
        with source.open(build) as runner:
            right = ask(runner, recipe, build, samples)
        healthy = port.answers(graph)
        order = np.random.default_rng(asked.seed).permutation(len(samples))
        draws = [
            list(map(int, part)) for part in np.split(order[: asked.samples * (asked.others + 1)], asked.others + 1)
        ]
        first = judge_of(recipe, right, healthy, draws[0], 20)
        others = [judge_of(recipe, right, healthy, which, 0) for which in draws[1:]]
        rows = []
        for number, plant in enumerate(chosen(graph, GRAPH_FAULTS, of_the_port(recipe), asked.faults, asked.seed)):
            faulty = port.planted(plant, number)
            claim = claimed(first, faulty, draws[0])
            seen = [bool(claimed(judge, faulty, which)) for judge, which in zip(others, draws[1:], strict=True)]
            rows.append({"claim": claim, "replays": len(seen), "confirmed": sum(one == claim for one in seen)})
            words = f"{seen.count(True)} of {len(seen)} other draws notice it"
            print(f"{plant.kind:<34} {plant.size:<8g} claim {claim!s:<6} {words}", flush=True)
    return told(rows, asked.json)


def told(rows: Sequence[dict[str, Any]], out: Path | None) -> int:
    """Print the share of confirmed claims; return the exit code."""
    claims = [row for row in rows if row["claim"] is not None]
    share = sum(row["confirmed"] for row in claims) / max(1, sum(row["replays"] for row in claims))
    print(
        f"{'PASS' if share >= BAR else 'FAIL'}  {share:.1%} of the replays confirm {len(claims)} claims; "
        f"{len(rows) - len(claims)} faults by chance or without effect"
    )
    if out is not None:
        row = {
            "name": "claims of power confirmed on other draws",
            "ours": 100 * share,
            "theirs": 100 * BAR,
            "unit": "%",
        }
        row |= {"ratio": share / BAR, "bar": 1.0, "met": share >= BAR, "machine": mp.environment()}
        out.write_text(json.dumps([row]), encoding="utf-8")
    return 0 if share >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
