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

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.progress import Silent
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.engines.base import Build, Launch
from modelport.engines.registry import get_engine, model_artifact, opened
from modelport.jobs.run import RunRequest, run
from modelport.measure.in_flight import SECONDS, beside_decoders, probe_concurrency
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure
from modelport.model.graph.pixel_input import recipe_of_pixels, write_pixel_graph
from modelport.recipes.load import load_recipe
from modelport.report.result import environment
from modelport.stages.lower import lowered
from modelport.stages.plan import Plan, Wish
from photos import draw_photos
from sides import seeded_graph

# It loses nothing of the pure speed, and is small, since the last batch of a short way runs alone.
BATCH = 4
# The shorter a way through the images is, the more its time scatters.
ROUNDS = {"fp32": 3, "bf16": 3, "int8": 4}
OF_CEILING = 0.97
OF_PURE = {"fp32": 0.93, "bf16": 0.90, "int8": 0.85}
OVER_GUIDES = {"fp32": 1.1, "bf16": 1.25, "int8": 1.4}
RECIPE = load_recipe("moco-v2")
INPUT = RECIPE.tensors.inputs[0].name
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True, slots=True)
class Model:
    """One precision: the graph that takes pixels, for ours, and the one that takes floats, for the guides' way."""

    precision: str
    pixels: Artifact
    floats: Artifact
    in_flight: int

    def build(self, *, pixels: bool) -> Build:
        """What it is opened as."""
        return Build(recipe_of_pixels(RECIPE) if pixels else RECIPE, self.precision, BATCH)

    def launch(self, *, pixels: bool) -> Launch:
        """How it is run: ours with the best number of runs in flight, the guides' one after the other."""
        return Launch(in_flight=self.in_flight if pixels else 1)


def prepared(precision: str, calibration: Path, work: Path) -> Model:
    """Return both graphs in a precision."""
    engine = get_engine("openvino")
    floats = model_artifact(seeded_graph())
    pixels = write_pixel_graph(floats, RECIPE, work / "pixels.onnx")
    if precision == "int8":
        graphs = []
        for form, graph in ((RECIPE, floats), (recipe_of_pixels(RECIPE), pixels)):
            plan = Plan(RECIPE, engine, Build(form, precision, BATCH), calibration=calibration)
            graphs.append(lowered(plan, graph, None, (), Silent()).artifact)
        floats, pixels = graphs
    model = Model(precision, pixels, floats, 1)
    probes = probe_concurrency(engine, pixels, model.build(pixels=True), Launch(), SECONDS)
    return replace(model, in_flight=beside_decoders(probes))


def pure(model: Model, seconds: float) -> float:
    """Return samples/s of inference alone."""
    build = model.build(pixels=True)
    with opened(get_engine("openvino"), model.pixels, build, model.launch(pixels=True)) as runner:
        inputs = random_inputs(runner.signature.with_batch(BATCH), build.recipe, 0)
        return measure(Load(runner, inputs.buffers, BATCH, runner.concurrency, seconds)).timed.samples_per_second


def preprocessing_seconds(data: Path) -> float:
    """Return CPU seconds per image, all threads together."""
    samples = open_dataset(RECIPE.dataset, data)
    start = time.process_time()
    with closing(feed(RECIPE, samples, BATCH, seed=0, pixels=True)) as batches:
        for _ in batches:
            pass
    return (time.process_time() - start) / len(samples)


def end_to_end(model: Model, data: Path, out: Path) -> float:
    """Return samples/s of the whole road, as the result file has it."""
    wish = Wish("openvino", model.precision, BATCH, "uint8", in_flight=model.in_flight)
    request = RunRequest("moco-v2", data, out, model=model.pixels.path, wish=wish, force=True)
    return run(request, Silent()).samples_per_second or 0.0


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


def guides_way(model: Model, data: Path, work: Path, engine: str = "openvino") -> float:
    """Return samples/s of the guides' three steps, one after the other. Model loading is not counted, as in ours."""
    samples = list(open_dataset(RECIPE.dataset, data))
    with opened(get_engine(engine), model.floats, model.build(pixels=False), model.launch(pixels=False)) as runner:
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


def rows_of(model: Model, data: Path, work: Path, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the sides in turn and return a row per bar."""
    found: dict[str, list[float]] = {name: [] for name in ("pure", "end_to_end", "preprocessing", "guides")}
    for turn in range(rounds):
        if turn % 2:
            found["guides"].append(guides_way(model, data, work))
        found["preprocessing"].append(preprocessing_seconds(data))
        # The speed of a shared machine drifts: what is divided is measured around what it is divided by.
        before = pure(model, seconds / 2)
        found["end_to_end"].append(end_to_end(model, data, work / "out"))
        found["pure"].append((before + pure(model, seconds / 2)) / 2)
        if not turn % 2:
            found["guides"].append(guides_way(model, data, work))
    got = found["end_to_end"]
    ceiling = [
        1 / (1 / speed + cpu / machine.cores())
        for speed, cpu in zip(found["pure"], found["preprocessing"], strict=True)
    ]
    name = model.precision
    rows = [
        _row(f"{name}: end to end over the ceiling", got, ceiling, OF_CEILING),
        _row(f"{name}: end to end over pure inference", got, found["pure"], OF_PURE[name]),
        _row(f"{name}: end to end over the guides' way", got, found["guides"], OVER_GUIDES[name]),
    ]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    more = {
        "batch": BATCH,
        "in_flight": model.in_flight,
        "preprocessing_cpu_ms": 1000 * statistics.median(found["preprocessing"]),
        "peak_mib": usage.ru_maxrss / 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": environment(),
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
    here = get_engine("openvino").available().precisions
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = draw_photos(work / "data", options.count)
        calibration = draw_photos(work / "calibration", 48, first=100_000) / "images"
        preprocessing_seconds(calibration.parent)  # loads the compiled resize
        for precision in options.precisions:
            if precision not in here:
                print(f"{precision}: not executed by this processor")
                continue
            rounds = options.rounds or ROUNDS[precision]
            rows += rows_of(prepared(precision, calibration, work), data, work, rounds, options.duration)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    main()
