"""``tune`` against the whole grid: the time that it takes, and the speed of what it finds.

Usage: python benchmarks/tune_vs_grid.py [--images 96] [--photos 300] [--json FILE]. Takes some minutes. Exit code 1
where a bar is missed.

A ResNet-50 with sample weights and drawn images. The grid is every engine × precision × batch × runs in flight, each
scored on the same images; at most 40 points. Exports, quantized models and the source's answers are in the cache before
either side starts: both need the same ones. What tune found then runs over photo-like JPEGs, against the guides' way
through files on ONNX Runtime in fp32 over the same photos.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from modelport.core import machine
from modelport.core.progress import Silent
from modelport.engines.registry import availabilities, model_artifact
from modelport.jobs.port import PortRequest, port
from modelport.jobs.samples import make_data, make_weights
from modelport.jobs.tuning import tune
from modelport.jobs.tuning_search import TuneRequest
from modelport.recipes.setting import read_setting
from modelport.report.result import environment
from photos import draw_photos
from pipeline import Model, guides_way

TIME_BAR, SPEED_BAR, GUIDES_BAR = 0.25, 0.95, 3.5
ENGINES = ("openvino", "onnxruntime")
BATCHES = (1, 4, 8, 16)


def grid(request: PortRequest) -> list[PortRequest]:
    """Return every point."""
    here = availabilities()
    points = []
    for engine in ENGINES:
        slow = {precision for precision, _ in here[engine].accuracy_only}
        for precision in here[engine].precisions:
            if precision in slow:
                continue
            for batch in BATCHES:
                for in_flight in sorted({1, machine.cores()}):
                    calibration = request.data if precision == "int8" else None
                    points.append(
                        replace(request, engine=engine, precision=precision, batch=batch, concurrency=in_flight,
                                calibration=calibration, input_type="uint8")
                    )  # fmt: skip
    return points


def main() -> None:
    """Measure both sides in one run and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, weights = folder / "data", folder / "w.pth.tar"
        make_data("imagenet", data, options.images, 0, Silent())
        make_weights("moco-v2", data, weights, 0, Silent())
        point = PortRequest("moco-v2", data, folder / "out", weights=weights, force=True)
        search = TuneRequest("moco-v2", data, folder / "setting.toml", weights, engines=ENGINES, max_drop=5.0)
        tune(search, Silent())  # fills the caches
        start = time.perf_counter()
        tune(search, Silent())
        tuned_seconds = time.perf_counter() - start
        chosen = read_setting(search.out)
        start, results = time.perf_counter(), []
        for request in grid(point):
            results.append(port(request, Silent()))
        grid_seconds = time.perf_counter() - start
        speeds = [result["throughput"]["end_to_end"]["value"] for result in results if result["verdict"] != "fail"]
        again = replace(
            point, engine=chosen.engine, precision=chosen.precision, batch=chosen.batch,
            concurrency=chosen.concurrency, input_type=chosen.input_type,
            calibration=data if chosen.precision == "int8" else None,
        )  # fmt: skip
        ours = max(port(again, Silent())["throughput"]["end_to_end"]["value"] for _ in range(3))
        photos = draw_photos(folder / "photos", options.photos)
        files = folder / "files"
        files.mkdir()
        graph = next(Path(row["path"]) for row in results[0]["artifacts"] if row["kind"] == "onnx")
        floats = Model("fp32", model_artifact(graph), model_artifact(graph), 1)
        guides = guides_way(floats, photos, files, "onnxruntime")
        tuned = port(replace(again, data=photos, out=folder / "tuned"), Silent())["throughput"]["end_to_end"]["value"]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    more = {
        "points": len(results), "chosen": chosen.model_dump(mode="json"),
        "peak_mib": usage.ru_maxrss / 1024, "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "machine": environment(),
    }  # fmt: skip
    rows = [
        {"name": "tune: time over the whole grid's", "ours": tuned_seconds, "theirs": grid_seconds,
         "ratio": tuned_seconds / grid_seconds, "bar": TIME_BAR, "met": tuned_seconds <= TIME_BAR * grid_seconds,
         "lower_is_better": True, "unit": "s"} | more,
        {"name": "tune: speed of the setting over the grid's best", "ours": ours, "theirs": max(speeds),
         "ratio": ours / max(speeds), "bar": SPEED_BAR, "met": ours >= SPEED_BAR * max(speeds),
         "unit": "samples/s"} | more,
        {"name": "tune: the setting over the guides' way, ONNX Runtime fp32", "ours": tuned, "theirs": guides,
         "ratio": tuned / guides, "bar": GUIDES_BAR, "met": tuned >= GUIDES_BAR * guides, "unit": "samples/s"} | more,
    ]  # fmt: skip
    for row in rows:
        print(f"{row['name']:<48} {row['ours']:8.2f} / {row['theirs']:8.2f} {row['unit']}  ratio {row['ratio']:.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    sys.exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    main()
