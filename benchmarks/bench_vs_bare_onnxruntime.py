"""modelport's measuring loop on ONNX Runtime against a bare loop around session.run: same model, batch and threads.

Usage: python benchmarks/bench_vs_bare_onnxruntime.py [--batches 1 8] [--duration 5] [--rounds 3]
    [--threads N] [--json FILE]

ResNet-50 with seeded random weights, fp32, one run in flight. Exit code 1 where a ratio is below 0.97.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sides import Ran, Setting, arguments_of, compare, finish, ours, run_process, seeded_graph

BAR = 0.97


def bare_loop(setting: Setting) -> Ran:
    """Run the loop below in a process of its own."""
    values = (setting.batch, setting.threads, setting.seconds)
    words = [sys.executable, str(Path(__file__).resolve()), "--bare", str(setting.model), *map(str, values)]
    return run_process(words, lambda text: float(text.splitlines()[-1]))


def measure_bare(model: str, batch: int, threads: int, seconds: float) -> float:
    """Return samples/s of session.run on one input, after three runs to warm up."""
    import numpy as np
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = {name: np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)}
    for _ in range(3):
        session.run(None, inputs)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        session.run(None, inputs)
        count += 1
    return batch * count / (time.perf_counter() - start)


def main() -> None:
    """Measure both sides in one run and print the ratios."""
    if sys.argv[1:2] == ["--bare"]:
        model, batch, threads, seconds = sys.argv[2:]
        print(measure_bare(model, int(batch), int(threads), float(seconds)))
        return
    options = arguments_of(__doc__)
    model_path = seeded_graph()
    rows = []
    for batch_size in options.batches:
        setting = Setting(model_path, batch_size, 1, options.threads, options.duration)
        name = f"bare ONNX Runtime, batch {batch_size}, 1 in flight"
        rows.append(compare(name, ours("onnxruntime"), bare_loop, setting, rounds=options.rounds, bar=BAR))
    finish(rows, options.json)


if __name__ == "__main__":
    main()
