"""What a folder of results tells of the inference that left it: one run or two, whole or not, and its speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
# A figure beyond is no milliseconds and no samples/s.
LARGEST = 1e15


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
    """Return the rows of a run: modelport's summary tells them; None where nothing does.

    Of ais_bench's own it is the larger of what ``--batchsize`` said, which only scales its throughput, and of samples
    for each run: ``filesinfo`` has an entry for each sample, with as many files as the model has inputs.
    """
    ours, words = summary.get("modelport"), summary.get("args")
    if isinstance(ours, dict) and (batch := _count(ours.get("batch"))):
        return batch
    told: list[Any] = []
    if isinstance(words, list):
        told += [after for word, after in pairwise(words) if word == "--batchsize"]
        told += [word.partition("=")[2] for word in map(str, words) if word.startswith("--batchsize=")]
    runs, samples = _count(_clock(summary).get("count")), len(_entries(summary))
    if runs and samples:
        told.append(-(-samples // runs))
    return max((number for one in told if (number := _count(one))), default=None)


def _count(value: Any) -> int | None:
    """Return a count of at least 1, of a number or of its digits; None of anything else."""
    digits = str(value) if isinstance(value, int | str) else ""
    return int(digits) or None if digits.isdecimal() and len(digits) < 10 else None


def _figure(value: Any) -> float:
    """Return a time or a speed; 0 of anything else, and of an integer that no float holds."""
    return float(value) if isinstance(value, int | float) and 0 < value < LARGEST else 0.0


def _clock(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    compute = summary.get("NPU_compute_time")
    return compute if isinstance(compute, dict) else {}


def _entries(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the summary tells of each sample's files."""
    info = summary.get("filesinfo")
    return [entry for entry in info.values() if isinstance(entry, dict)] if isinstance(info, dict) else []


def _of_two_runs(results: Results, summary: Mapping[str, Any]) -> list[str]:
    """Tell files that the summary does not, and a pause between files that no run makes."""
    files = {path.name: path for outputs in results.files.values() for path in outputs.values()}
    lists = [names for entry in _entries(summary) if isinstance(names := entry.get("outfiles"), list)]
    told = {Path(str(name)).name for names in lists for name in names}
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
    # A time of any size may stand beside a file: datetime ends with the year 9999.
    ended, began = (f"{np.datetime64(int(times[at]) // 60, 'm')} UTC" for at in (place, place + 1))
    return [
        f"{results.folder}: {place + 1} files were written until {ended}, {len(times) - place - 1} from {began} on: "
        "results of two runs, judged as one, unless it was resumed"
    ]


def _of_throughput(folder: Path, summary: Mapping[str, Any]) -> list[str]:
    """Tell a throughput that counts batches, where mean time and batch say so."""
    mean, rate, batch = _figure(_clock(summary).get("mean")), _figure(summary.get("throughput")), batch_of(summary)
    if not batch or batch == 1 or abs(rate * mean / 1000 - 1) > NEAR:
        return []
    return [
        f"{folder}: the summary's throughput, {rate:.6g}, is batches/s: one batch of {batch} takes {mean:.6g} ms, "
        f"which is {1000 * batch / mean:.6g} samples/s"
    ]
