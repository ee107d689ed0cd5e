"""Peak memory of ``modelport run moco-v2`` over 500 and over 2000 sample images: the ratio must stay within 5 %.

Usage: python benchmarks/memory_flat.py [--engine openvino] [--json FILE]. Takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (500, 2000)


def peak_mib(words: list[str]) -> float:
    """Run modelport and return the peak resident memory of that process in MiB."""
    process = subprocess.Popen([sys.executable, "-m", "modelport", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"modelport {' '.join(words)} failed")
    return usage.ru_maxrss / 1024


def main() -> None:
    """Measure both sides in one run and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MODELPORT_CACHE"] = str(folder / "cache")
        data, weights = str(folder / "data"), str(folder / "weights.pth.tar")
        peak_mib(["samples", "data", "imagenet", "--out", data, "--count", str(max(COUNTS))])
        peak_mib(["samples", "weights", "moco-v2", "--data", data, "--out", weights])
        run = ["run", "moco-v2", "--weights", weights, "--data", data, "--engine", options.engine]
        # The first run exports; its peak is the export's, not the loop's.
        peak_mib([*run, "--limit", "300", "--out", str(folder / "first")])
        peaks = {count: peak_mib([*run, "--limit", str(count), "--out", str(folder / str(count))]) for count in COUNTS}
    ratio = peaks[COUNTS[1]] / peaks[COUNTS[0]]
    for count, peak in peaks.items():
        print(f"{count:>5} images  {peak:8.1f} MiB")
    print(f"ratio  {ratio:.3f}")
    if options.json:
        options.json.write_text(json.dumps({"engine": options.engine, "peak_mib": peaks, "ratio": ratio}, indent=2))


if __name__ == "__main__":
    main()
