"""The second run of the same model: seconds to its first inference, beyond what the engine needs to load the model.

Usage: python benchmarks/second_run.py [--engine openvino] [--images 64] [--json FILE]. Exit code 1 above 2 seconds.

Both sides are processes of their own, from the start of Python until the model is loaded: the first inference begins
there. The engine's own side imports it and reads the graph that `run` opens.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import modelport as mp
from sides import Ran, run_process
from verbs import VERDICTS, verb

BAR_SECONDS = 2.0
LOADED = re.compile(r"load(ed)? .* at ([\d.]+)$", re.MULTILINE)
# What `run --verbose` says when the model is loaded, with the time behind each line.
RUN = """
import sys, time
from modelport.cli.main import main
class Stamped:
    def __init__(self, stream):
        self.stream = stream
    def __getattr__(self, name):
        return getattr(self.stream, name)
    def write(self, text):
        return self.stream.write(text.replace("\\n", f" at {time.time()}\\n"))
sys.stderr = Stamped(sys.stderr)
main([*sys.argv[1:], "--verbose"])
"""
OWN = {
    "openvino": """
import sys, time, numpy, openvino
model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
model.create_infer_request()
print('loaded here at', time.time())
""",
    "onnxruntime": """
import sys, time, numpy, onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print('loaded here at', time.time())
""",
}


def ran(code: str, words: list[str]) -> Ran:
    """Run one of the programs above; its figure is the seconds from its start to the time that it prints."""
    start = time.time()

    def seconds(said: str) -> float:
        found = LOADED.search(said)
        if found is None:
            raise SystemExit(f"nothing was loaded:\n{said[-2000:]}")
        return float(found[2]) - start

    return run_process([sys.executable, "-c", code, *words], seconds, VERDICTS)


def main() -> None:
    """Measure both sides in turn and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="openvino", choices=sorted(OWN))
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        verb("samples", "data", "imagenet", "--out", folder / "data", "--count", options.images)
        mp.random_weights(mp.load_recipe("moco-v2"), folder / "w.pth.tar")
        words = ["run", "moco-v2", "--weights", folder / "w.pth.tar", "--data", folder / "data", "--out", folder / "o"]
        line = [str(word) for word in (*words, "--engine", options.engine, "--force")]
        ran(RUN, line)  # exports, compiles and fills the caches
        artifacts = json.loads((folder / "o" / "result.json").read_text())["artifacts"]
        kinds = ("openvino", "onnx") if options.engine == "openvino" else ("onnx",)
        graph = next(row["path"] for kind in kinds for row in reversed(artifacts) if row["kind"] == kind)
        pairs = [(ran(RUN, line), ran(OWN[options.engine], [graph])) for _ in range(options.rounds)]
    ours, own = (statistics.median(one.figure for one in side) for side in zip(*pairs, strict=True))
    row = {
        "name": f"{options.engine}: second run to its first inference, beyond the engine's own load",
        "ours": ours, "theirs": own, "ratio": ours - own, "bar": BAR_SECONDS, "met": ours - own <= BAR_SECONDS,
        "lower_is_better": True, "difference": True, "unit": "s",
        "rounds": [(mine.figure, other.figure) for mine, other in pairs],
        "peak_mib": max(mine.peak_mib for mine, _ in pairs),
        "cpu_seconds": statistics.median(mine.cpu_seconds for mine, _ in pairs), "machine": mp.environment(),
    }  # fmt: skip
    print(f"{row['name']}: {ours:.2f} − {own:.2f} = {ours - own:.2f} s (bar {BAR_SECONDS})")
    if options.json:
        options.json.write_text(json.dumps([row], indent=2) + "\n")
    sys.exit(0 if row["met"] else 1)


if __name__ == "__main__":
    main()
