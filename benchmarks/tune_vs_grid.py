"""``tune`` against the whole grid: the time that it takes, and the speed of what it finds.

Usage: python benchmarks/tune_vs_grid.py [--images 224] [--photos 120] [--json FILE]. Takes some minutes. Exit code 1
where a bar is missed.

A ResNet-50 with sample weights and drawn images. The grid is every engine × precision × batch × runs in flight, at most
40 points: each is opened and scored on all images, and nothing else. Exports, quantized models and the source's answers
are in the cache before either side starts: both need the same ones. The grid's best and tune's choice are then measured
in turn. Last, tune's choice runs over photo-like JPEGs, against the guides' way through files on ONNX Runtime in fp32
over the same photos.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from modelport.core import machine
from modelport.core.progress import Silent
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.engines.base import Build, Launch
from modelport.jobs.run import RunRequest, wish_of
from modelport.jobs.run import run as run_recipe
from modelport.jobs.samples import make_data, make_weights
from modelport.jobs.tune.search import Pair, Search, TuneRequest, probed_pairs
from modelport.jobs.tune.tune import searching, tune
from modelport.recipes.setting import read_setting
from modelport.report.result import environment
from modelport.verdict.rules import floor_of
from photos import draw_photos
from pipeline import Model, guides_way

TIME_BAR, SPEED_BAR, GUIDES_BAR = 0.25, 0.95, 3.5
MAX_DROP = 5.0  # percent of the source's accuracy; the sample weights are not made to be quantized
ENGINES = ("openvino", "onnxruntime")
BATCHES = (1, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One setting of the grid and its speed from files to scores, in samples/s; 0 where the accuracy is too low."""

    pair: Pair
    how: tuple[Build, Launch]
    speed: float


def walk_grid(search: Search) -> list[GridPoint]:
    """Score every point on all samples."""
    points = []
    # Opens each pair once more to probe it, as tune does: a second of each, which a plain grid would not need.
    for pair in probed_pairs(search):
        for batch in BATCHES:
            for in_flight in sorted({1, machine.cores()}):
                how = replace(pair.build, batch=batch), Launch(in_flight=in_flight)
                outcome = search.run(pair, *how, None)
                source = (outcome.scored.figures.source or {})[search.metric].value
                accepted = outcome.scored.figures.metrics[search.metric].value >= floor_of(source, search.tolerance)
                speed = outcome.rows / outcome.clocks.seconds if accepted else 0.0
                points.append(GridPoint(pair, how, speed))
    return points


def again(search: Search, pair: Pair, how: tuple[Build, Launch]) -> float:
    """Return samples/s of one setting over all samples."""
    outcome = search.run(pair, *how, None)
    return outcome.rows / outcome.clocks.seconds


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the median of the first, of the second, and of their ratios."""
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    return first, second, statistics.median(one / other for one, other in pairs)


def main() -> None:
    """Measure both sides in one run and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=224)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, weights = folder / "data", folder / "w.pth.tar"
        make_data("imagenet", data, options.images, 0, Silent())
        make_weights("moco-v2", data, weights, 0, Silent())
        few = folder / "calibration"  # quantizing is no part of either side
        draw_imagenet(few, count=10, train_per_class=9, seed=1)
        request = TuneRequest(
            "moco-v2", data, folder / "setting.toml", weights, max_drop=MAX_DROP, calibration=few, engines=ENGINES
        )
        with searching(request, Silent()) as search:
            probed_pairs(search)  # fills the caches
        start = time.perf_counter()
        tune(request, Silent())
        tuned_seconds = time.perf_counter() - start
        chosen = read_setting(request.out)
        with searching(request, Silent()) as search:
            start = time.perf_counter()
            points = walk_grid(search)
            grid_seconds = time.perf_counter() - start
            top = max(points, key=lambda point: point.speed)
            pair = next(
                point.pair
                for point in points
                if (point.pair.engine.name, point.pair.precision) == (chosen.engine, chosen.precision)
            )
            form = replace(pair.build, batch=chosen.batch), Launch(chosen.threads, chosen.concurrency)
            pairs = [(again(search, pair, form), again(search, top.pair, top.how)) for _ in range(3)]
            floats = Model("fp32", search.port.trail.model, search.port.trail.model, 1)
        photos = draw_photos(folder / "photos", options.photos)
        files = folder / "files"
        files.mkdir()
        wish = wish_of("moco-v2", request.out, {})
        run = RunRequest("moco-v2", photos, folder / "tuned", weights=weights, wish=wish, force=True)
        end_to_end = [
            (
                run_recipe(run, Silent()).samples_per_second or 0.0,
                guides_way(floats, photos, files, "onnxruntime"),
            )
            for _ in range(3)
        ]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    more = {
        "points": len(points), "chosen": chosen.model_dump(mode="json"),
        "peak_mib": usage.ru_maxrss / 1024, "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": environment(),
    }  # fmt: skip
    ours, theirs, ratio = medians(pairs)
    tuned, guides, over = medians(end_to_end)
    rows = [
        {"name": "tune: time over the whole grid's", "ours": tuned_seconds, "theirs": grid_seconds,
         "ratio": tuned_seconds / grid_seconds, "bar": TIME_BAR, "met": tuned_seconds <= TIME_BAR * grid_seconds,
         "lower_is_better": True, "unit": "s"} | more,
        {"name": "tune: speed of the setting over the grid's best", "ours": ours, "theirs": theirs, "ratio": ratio,
         "bar": SPEED_BAR, "met": ratio >= SPEED_BAR, "unit": "samples/s", "rounds": pairs} | more,
        {"name": "tune: the setting over the guides' way, ONNX Runtime fp32", "ours": tuned, "theirs": guides,
         "ratio": over, "bar": GUIDES_BAR, "met": over >= GUIDES_BAR, "unit": "samples/s", "rounds": end_to_end} | more,
    ]  # fmt: skip
    for row in rows:
        print(f"{row['name']:<48} {row['ours']:8.2f} / {row['theirs']:8.2f} {row['unit']}  ratio {row['ratio']:.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    main()
