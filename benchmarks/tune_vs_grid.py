"""``tune`` against the whole grid: the time that it takes, and the speed of what it finds.

Usage: python benchmarks/tune_vs_grid.py [--images 224] [--photos 120] [--json FILE]. Takes some minutes. Exit code 1
where a bar is missed.

A ResNet-50 with sample weights and drawn images. The grid is every engine × precision × batch × runs in flight, at most
40 points: each is opened and scored on all images, and nothing else. Exports, quantized models and the source's answers
are there before either side starts: both need the same ones. The grid's best and tune's choice are then measured
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
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelport as mp
from photos import draw_photos
from pipeline import guides_way
from verbs import run, speed, verb

TIME_BAR, SPEED_BAR, GUIDES_BAR = 0.25, 0.95, 3.5
MAX_DROP = 5.0  # percent of the source's accuracy; the sample weights are not made to be quantized
ENGINES = ("openvino", "onnxruntime")
BATCHES = (1, 4, 8, 16)
RECIPE = mp.load_recipe("moco-v2")
METRIC = "top1"


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One setting of the grid and its speed from files to answers, in samples/s; 0 where the accuracy is too low."""

    model: mp.Model
    speed: float


def grid(source: Any, calibration: Path) -> list[mp.Model]:
    """Build every point: the graphs come from the cache, but for the first of each precision."""
    here, models = mp.doctor()["engines"], []
    for engine in ENGINES:
        for precision in here[engine]["precisions"]:
            if precision in here[engine]["accuracy_only"]:
                continue
            images = calibration if precision == "int8" else None
            for batch in BATCHES:
                for in_flight in sorted({1, mp.environment()["cores"]}):
                    wish = mp.Wish(engine, precision, batch, "uint8", in_flight=in_flight, calibration=images)
                    models.append(mp.build(source, wish=wish))
    return models


def walk_grid(models: list[mp.Model], data: Any, lowest: float) -> list[GridPoint]:
    """Score every point on all samples; ``lowest`` is the accuracy that still passes."""
    points = []
    for model in models:
        result = mp.judge(RECIPE, mp.answer(model, data))
        points.append(GridPoint(model, speed(result) if result.metrics[METRIC].value >= lowest else 0.0))
    return points


def chosen_model(source: Any, setting: Path) -> tuple[mp.Model, dict[str, Any]]:
    """Return what ``tune`` chose, built, and the keys of its file."""
    told = tomllib.loads(setting.read_text(encoding="utf-8"))
    wish = mp.Wish(
        *(told["engine"], told["precision"], told["batch"], told["input_type"]),
        threads=told["threads"],
        in_flight=told["concurrency"],
        calibration=Path(told["calibration"]) if "calibration" in told else None,
    )
    return mp.build(source, wish=wish), told


def again(model: mp.Model, data: Any) -> float:
    """Return samples/s of one setting over all samples."""
    return speed(mp.judge(RECIPE, mp.answer(model, data)))


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
        folder_of_data, weights, few = folder / "data", folder / "w.pth.tar", folder / "calibration"
        verb("samples", "data", "imagenet", "--out", folder_of_data, "--count", options.images)
        verb("samples", "weights", "moco-v2", "--data", folder_of_data, "--out", weights)
        # Quantizing is no part of either side.
        verb("samples", "data", "imagenet", "--out", few, "--count", 10, "--seed", 1)
        model = ("moco-v2", "--weights", weights)
        source, data = mp.source(RECIPE, weights), mp.open_dataset(RECIPE, folder_of_data)
        # These two fill the caches.
        models = grid(source, few)
        first = run(*model, "--data", folder_of_data, "--engine", ENGINES[0], out=folder / "first")
        lowest = first.source.metrics[METRIC].value * (1 - MAX_DROP / 100)
        setting = folder / "setting.toml"
        start = time.perf_counter()
        words = ["--data", folder_of_data, "--out", setting, "--max-drop", MAX_DROP, "--calibration", few]
        verb("tune", *model, *words, "--engines", ",".join(ENGINES))
        tuned_seconds = time.perf_counter() - start
        start = time.perf_counter()
        points = walk_grid(models, data, lowest)
        grid_seconds = time.perf_counter() - start
        top = max(points, key=lambda point: point.speed)
        mine, chosen = chosen_model(source, setting)
        pairs = [(again(mine, data), again(top.model, data)) for _ in range(3)]
        photos = draw_photos(folder / "photos", options.photos)
        files = folder / "files"
        files.mkdir()
        floats = mp.build(source, "onnxruntime", "fp32", wish=mp.Wish(batch=4, in_flight=1))
        words = [*model, "--data", photos, "--setting", setting]
        end_to_end = [(speed(run(*words, out=folder / "tuned")), guides_way(floats, photos, files)) for _ in range(3)]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    more = {
        "points": len(points), "chosen": chosen,
        "peak_mib": usage.ru_maxrss / 1024, "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": mp.environment(),
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
