"""modelport's measuring loop on OpenVINO against OpenVINO's own benchmark_app: same model, batch, threads, streams.

Usage: python benchmarks/bench_vs_benchmark_app.py [--batches 1 8] [--duration 5] [--rounds 3]
    [--threads N] [--json FILE]

ResNet-50 with seeded random weights, fp32; one run in flight, and a run per core.
Exit code 1 where a ratio is below 0.97.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sides import Ran, Setting, arguments_of, compare, finish, ours, run_process, seeded_graph

BAR = 0.97


def benchmark_app(setting: Setting) -> Ran:
    """Run the program that comes with OpenVINO's package."""
    words = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(setting.model), "-d", "CPU"]
    words += ["-shape", f"[{setting.batch},3,224,224]", "-infer_precision", "f32", "-hint", "none"]
    words += ["-nstreams", str(setting.in_flight), "-nthreads", str(setting.threads), "-t", f"{setting.seconds:.0f}"]
    words += ["-api", "sync"] if setting.in_flight == 1 else ["-api", "async", "-nireq", str(setting.in_flight)]
    return run_process(words, _throughput)


def _throughput(text: str) -> float:
    found = re.search(r"Throughput:\s+([\d.]+) FPS", text)
    if not found:
        raise SystemExit(f"benchmark_app printed no throughput:\n{text[-2000:]}")
    return float(found[1])


def main() -> None:
    """Measure both sides in one run and print the ratios."""
    options = arguments_of(__doc__)
    model = seeded_graph()
    rows = []
    for batch in options.batches:
        for in_flight in sorted({1, options.threads}):
            setting = Setting(model, batch, in_flight, options.threads, max(1.0, options.duration))
            name = f"benchmark_app, batch {batch}, {in_flight} in flight"
            rows.append(compare(name, ours("openvino"), benchmark_app, setting, rounds=options.rounds, bar=BAR))
    finish(rows, options.json)


if __name__ == "__main__":
    main()
