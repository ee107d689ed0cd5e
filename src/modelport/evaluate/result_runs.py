"""What a folder of results tells of the inference that left it: one run or two, whole or not, and its speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import DataError, raised_as
from modelport.core.text import natural_key, some
from modelport.data.files.result_files import Results, summary_of

# Seconds without a file, and how many times as long as either side took to write its files, that part two runs.
PAUSE, TIMES = 600.0, 5.0
# Clocks of one run agree to this share.
NEAR = 0.02


def doubts_of_run(results: Results) -> list[str]:
    """Return what is to be doubted of a folder of results: files of two runs, and a throughput in batches."""
    summary = summary_of(results.folder) or {}
    said = _of_two_runs(results, summary)
    return [*said, *_of_throughput(results.folder, summary)]


def dropped_batch(missing: Sequence[str], rows: Sequence[str], folder: Path) -> str:
    """Say where the rows without a result are the last ones, as a short last batch is that was dropped."""
    last = set(missing)
    orders = (list(rows), sorted(rows, key=natural_key), sorted(rows))
    if len(missing) >= len(rows) or not any(set(order[-len(missing) :]) == last for order in orders):
        return ""
    batch = batch_of(summary_of(folder) or {})
    if batch and len(rows) % batch == len(missing):
        return f"; they are the last of {len(rows)} in batches of {batch}: the short last batch was dropped"
    return "; they are the last ones in order: the run stopped early, or dropped a short last batch"


def batch_of(summary: Mapping[str, Any]) -> int | None:
    """Return the rows of a run, as modelport's or ais_bench's summary tells them; None where it does not."""
    ours, words, info = summary.get("modelport"), summary.get("args"), summary.get("filesinfo")
    told: list[Any] = [ours.get("batch") if isinstance(ours, dict) else None]
    if isinstance(words, list):
        told += [after for word, after in pairwise(words) if word == "--batchsize"]
        told += [word.partition("=")[2] for word in map(str, words) if word.startswith("--batchsize=")]
    if isinstance(info, dict):
        told += [
            len(entry["infiles"]) for entry in info.values() if isinstance(entry, dict) and _is_list(entry, "infiles")
        ]
    numbers = [int(value) for value in told if isinstance(value, int | str) and str(value).isdecimal()]
    return max(numbers, default=None)


def _is_list(entry: Mapping[str, Any], name: str) -> bool:
    return isinstance(entry.get(name), list)


def _of_two_runs(results: Results, summary: Mapping[str, Any]) -> list[str]:
    """Tell files that the summary does not, and a pause between files that no run makes."""
    files = {path.name: path for outputs in results.files.values() for path in outputs.values()}
    info = summary.get("filesinfo")
    entries = [entry for entry in info.values() if isinstance(entry, dict)] if isinstance(info, dict) else []
    told = {Path(str(name)).name for entry in entries if _is_list(entry, "outfiles") for name in entry["outfiles"]}
    strange = sorted(files.keys() - told)
    if told & files.keys() and strange:
        return [
            f"{results.folder}: {len(strange)} of {len(files)} files are of another run than its summary tells: "
            f"{some(strange)}; results of two runs are judged as one"
        ]
    with raised_as(DataError, str(results.folder), "check the files", OSError):
        times = np.sort([path.stat().st_mtime for path in files.values()])
    if len(times) < 2:
        return []
    place = int(np.diff(times).argmax())
    pause, before, after = times[place + 1] - times[place], times[place] - times[0], times[-1] - times[place + 1]
    if pause < PAUSE or pause < TIMES * max(before, after):
        return []
    ended, began = (datetime.fromtimestamp(times[at], UTC).isoformat(" ", "minutes") for at in (place, place + 1))
    return [
        f"{results.folder}: {place + 1} files were written until {ended}, {len(times) - place - 1} from {began} on: "
        "results of two runs, judged as one, unless it was resumed"
    ]


def _of_throughput(folder: Path, summary: Mapping[str, Any]) -> list[str]:
    """Tell a throughput that counts batches, where mean time and batch say so."""
    compute, rate = summary.get("NPU_compute_time"), summary.get("throughput")
    mean, batch = compute.get("mean") if isinstance(compute, dict) else None, batch_of(summary)
    if not (isinstance(mean, int | float) and isinstance(rate, int | float) and mean > 0 and batch and batch > 1):
        return []
    if abs(rate * mean / 1000 - 1) > NEAR:
        return []
    return [
        f"{folder}: the summary's throughput, {rate:.6g}, is batches/s: one batch of {batch} takes {mean:.6g} ms, "
        f"which is {1000 * batch / mean:.6g} samples/s"
    ]
