"""What the engines spend their time on: milliseconds of a run by kind of operator, and the dearest operators by name.

Usage: python benchmarks/operator_profile.py [--recipe nas-fpn | --model FILE.onnx] [--batch 1] [--precision bf16]

The graph is exported with seeded random weights unless a file is given. ONNX Runtime's own profiler and OpenVINO's
performance counters tell the times; both slow a run a little. One run in flight on all cores. ``--precision bf16`` is
OpenVINO's alone; an int8 model is given as a file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import modelport as mp
from modelport.measure.inputs import random_inputs
from sides import seeded_graph

CORES = mp.environment()["cores"]
# (operator, kernel or provider) and name → milliseconds of each run
Times = dict[tuple[str, str], list[float]]
Inputs = dict[str, NDArray[Any]]


def inputs_of(model: Path, batch: int) -> Inputs:
    """Return one batch of standard normal input."""
    with mp.open_model(model) as runner:
        return dict(random_inputs(runner.signature.with_batch(batch), None, 0).buffers[0])


def with_openvino(model: Path, inputs: Inputs, runs: int, precision: str = "f32") -> Times:
    """Return the times that OpenVINO's counters tell."""
    import openvino

    network = openvino.Core().read_model(str(model))
    network.reshape({name: array.shape for name, array in inputs.items()})
    config = {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": CORES,
              "PERFORMANCE_HINT": "LATENCY"}  # fmt: skip
    request = openvino.Core().compile_model(network, "CPU", config).create_infer_request()
    times: Times = defaultdict(list)
    request.infer(inputs)
    for _ in range(runs):
        request.infer(inputs)
        for info in request.profiling_info:
            if info.real_time.total_seconds() > 0:
                times[f"{info.node_type} {info.exec_type}", info.node_name].append(1e3 * info.real_time.total_seconds())
    return times


def with_onnxruntime(model: Path, inputs: Inputs, runs: int) -> Times:
    """Return the times that ONNX Runtime's profiler writes."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = CORES
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
        for _ in range(runs + 1):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: Times = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["args"]["op_name"], event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e3)
    # The first run allocates.
    return {key: found[1:] for key, found in times.items()}


def told(engine: str, times: Times, top: int) -> None:
    """Print the medians, summed by kind and one by one."""
    each = {key: statistics.median(found) for key, found in times.items() if found}
    whole = sum(each.values())
    kinds: dict[str, list[float]] = defaultdict(list)
    for (kind, _), value in each.items():
        kinds[kind].append(value)
    print(f"\n{engine}: {whole:.1f} ms in {len(each)} operators")
    for kind, values in sorted(kinds.items(), key=lambda entry: -sum(entry[1]))[:top]:
        print(f"  {sum(values):8.2f} ms {100 * sum(values) / whole:5.1f} %  {len(values):4d} × {kind}")
    for (kind, name), value in sorted(each.items(), key=lambda entry: -entry[1])[:top]:
        print(f"    {value:8.2f} ms  {kind}  {name[:90]}")


def main() -> None:
    """Profile both engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="nas-fpn")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--top", type=int, default=12)
    parser.add_argument("--engines", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()
    model = options.model or seeded_graph(options.recipe)
    inputs = inputs_of(model, options.batch)
    if "openvino" in options.engines:
        hint = options.precision.replace("fp32", "f32")
        told(f"openvino {options.precision}", with_openvino(model, inputs, options.runs, hint), options.top)
    if "onnxruntime" in options.engines and options.precision == "fp32":
        told("onnxruntime fp32", with_onnxruntime(model, inputs, options.runs), options.top)


if __name__ == "__main__":
    main()
