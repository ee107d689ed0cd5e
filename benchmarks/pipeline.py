"""End to end against pure inference, against the machine's ceiling, and against the guides' way through files.

Usage: python benchmarks/pipeline.py [--count 500] [--rounds N] [--precisions fp32 bf16 int8] [--json FILE]

MoCo-v2's ResNet-50 on OpenVINO and photo-like JPEGs of 500 × 375. The sides take turns in one process:
- pure: runs on random inputs, as many in flight as end to end; half of it before end to end, half of it after;
- end to end: `modelport run` from JPEG bytes to scored predictions;
- ceiling: 1 / (1 / pure + CPU seconds of preprocessing per image / cores);
- guides: preprocess one by one to .bin, infer file by file, write TXT and read it as the guides' tools do, and rank.
Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import modelport as mp
from modelport.measure.in_flight import SECONDS, beside_decoders, probe_concurrency
from photos import draw_photos
from verbs import pure, run, setting, speed

# It loses nothing of the pure speed, and is small, since the last batch of a short way runs alone.
BATCH = 4
# The shorter a way through the images is, the more its time scatters.
ROUNDS = {"fp32": 3, "bf16": 3, "int8": 4}
OF_CEILING = 0.97
OF_PURE = {"fp32": 0.93, "bf16": 0.90, "int8": 0.85}
OVER_GUIDES = {"fp32": 1.1, "bf16": 1.25, "int8": 1.4}
RECIPE = mp.load_recipe("moco-v2")
INPUT = RECIPE.tensors.inputs[0].name
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True, slots=True)
class Sides:
    """One precision: the model that takes pixels, for ours, and the one that takes floats, for the guides' way."""

    precision: str
    wish: mp.Wish  # ours, with the best number of runs in flight
    pixels: mp.Model
    floats: mp.Model  # one run after the other


def prepared(source: Any, precision: str, calibration: Path) -> Sides:
    """Return both models in a precision."""
    images = calibration if precision == "int8" else None
    wish = mp.Wish("openvino", precision, BATCH, threads=mp.environment()["cores"], calibration=images)
    ours = replace(wish, input_type="uint8")
    probes = probe_concurrency(*mp.build(source, wish=ours).how, SECONDS)
    ours = replace(ours, in_flight=beside_decoders(probes))
    return Sides(precision, ours, mp.build(source, wish=ours), mp.build(source, wish=replace(wish, in_flight=1)))


def preprocessing_seconds(data: Path) -> float:
    """Return CPU seconds per image, all threads together."""
    samples = mp.open_dataset(RECIPE, data)
    start = time.process_time()
    with closing(mp.batches(RECIPE, samples, BATCH, pixels=True)) as batches:
        for _ in batches:
            pass
    return (time.process_time() - start) / len(samples)


def end_to_end(sides: Sides, data: Path, work: Path) -> float:
    """Return samples/s of the whole road, as the result file has it."""
    words = ["moco-v2", "--model", sides.pixels.path, "--data", data]
    words += ["--setting", setting(RECIPE, sides.wish, work / "setting.toml")]
    return speed(run(*words, out=work / "out"))


def published_tensor(path: Path) -> np.ndarray:
    """Return what the published script makes of an image, with Pillow and NumPy as it does: float32 (3, 224, 224)."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    longer = int(256 * max(width, height) / min(width, height))
    image = image.resize((256, longer) if width <= height else (longer, 256), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    tensor: np.ndarray = ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)
    return np.ascontiguousarray(tensor)


def guides_way(model: mp.Model, data: Path, work: Path) -> float:
    """Return samples/s of the guides' three steps, one after the other. Model loading is not counted, as in ours."""
    samples = list(mp.open_dataset(RECIPE, data))
    with model.open() as runner:
        runner.run({INPUT: np.zeros((BATCH, 3, 224, 224), np.float32)})
        start = time.perf_counter()
        for sample in samples:
            published_tensor(sample.path).tofile(work / f"{sample.id}.bin")
        for first in range(0, len(samples), BATCH):
            part = samples[first : first + BATCH]
            inputs = np.zeros((BATCH, 3, 224, 224), np.float32)
            for row, sample in enumerate(part):
                inputs[row] = np.fromfile(work / f"{sample.id}.bin", np.float32).reshape(3, 224, 224)
            rows = next(iter(runner.run({INPUT: inputs}).values()))
            for row, sample in zip(rows, part, strict=False):
                write_txt(row, work / f"{sample.id}_0.txt")
        hits = 0
        for sample in samples:
            order = np.argsort(-read_txt(work / f"{sample.id}_0.txt"))
            hits += int(sample.target in order[:5])
        return len(samples) / (time.perf_counter() - start)


def write_txt(row: np.ndarray, path: Path) -> None:
    """Write a row of floats as ais_bench's ``--outfmt TXT`` does (its utils.py): ``savetxt``, a space for a newline."""
    with path.open("wb") as file:
        np.savetxt(file, np.c_[row], fmt="%f", newline=" ")
        file.write(b"\n")


def read_txt(path: Path) -> np.ndarray:
    """Read such a row as the published accuracy scripts do, value by value."""
    with path.open() as file:
        numbers = file.readline().strip().split(" ")
    row = np.zeros(len(numbers), np.float32)
    for place, number in enumerate(numbers):
        row[place] = np.float32(number)
    return row


def rows_of(sides: Sides, data: Path, work: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the sides in turn and return a row per bar."""
    found: dict[str, list[float]] = {name: [] for name in ("pure", "end_to_end", "preprocessing", "guides")}
    for turn in range(rounds):
        if turn % 2:
            found["guides"].append(guides_way(sides.floats, data, work))
        found["preprocessing"].append(preprocessing_seconds(data))
        # The speed of a shared machine drifts: what is divided is measured around what it is divided by.
        before = pure(sides.pixels, RECIPE, BATCH, seconds / 2)
        found["end_to_end"].append(end_to_end(sides, data, work))
        found["pure"].append((before + pure(sides.pixels, RECIPE, BATCH, seconds / 2)) / 2)
        if not turn % 2:
            found["guides"].append(guides_way(sides.floats, data, work))
    got = found["end_to_end"]
    ceiling = [
        1 / (1 / speed + cpu / mp.environment()["cores"])
        for speed, cpu in zip(found["pure"], found["preprocessing"], strict=True)
    ]
    name = sides.precision
    rows = [
        _row(f"{name}: end to end over the ceiling", got, ceiling, OF_CEILING),
        _row(f"{name}: end to end over pure inference", got, found["pure"], OF_PURE[name]),
        _row(f"{name}: end to end over the guides' way", got, found["guides"], OVER_GUIDES[name]),
    ]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    more = {
        "batch": BATCH,
        "in_flight": sides.wish.in_flight,
        "preprocessing_cpu_ms": 1000 * statistics.median(found["preprocessing"]),
        "peak_mib": usage.ru_maxrss / 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": mp.environment(),
    }
    return [row | more for row in rows]


def _row(name: str, ours: list[float], theirs: list[float], bar: float) -> dict[str, Any]:
    pairs = list(zip(ours, theirs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    row = {
        "name": name,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratio": ratio,
        "bar": bar,
        "met": ratio >= bar,
        "unit": "samples/s",
        "rounds": pairs,
    }
    print(f"{name:<44} {row['ours']:8.2f} / {row['theirs']:8.2f} samples/s  ratio {ratio:.3f} (bar {bar})", flush=True)
    return row


def main() -> None:
    """Measure every precision that this processor executes and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, help="the same for every precision")
    parser.add_argument("--duration", type=float, default=6.0, help="seconds of each pure side")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    here = mp.doctor()["engines"]["openvino"]["precisions"]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = draw_photos(work / "data", options.count)
        calibration = draw_photos(work / "calibration", 48, first=100_000) / "images"
        preprocessing_seconds(calibration.parent)  # loads the compiled resize
        source = mp.source(RECIPE, mp.random_weights(RECIPE, work / "seeded.pth"))
        for precision in options.precisions:
            if precision not in here:
                print(f"{precision}: not executed by this processor")
                continue
            rounds = options.rounds or ROUNDS[precision]
            rows += rows_of(prepared(source, precision, calibration), data, work, rounds, options.duration)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    main()
