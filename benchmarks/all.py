"""Run every benchmark that has a bar, and write docs/benchmarks.md from what they measured (`make bench`).

Usage: python benchmarks/all.py [--only NAME …] [--out docs/benchmarks.md]. Takes up to 25 minutes on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Script → its words; together they stay below 25 minutes on two cores.
SCRIPTS = {
    "simclr_pipeline": [],
    "pipeline": ["--count", "500", "--duration", "3"],
    "bench_vs_benchmark_app": ["--batches", "1", "8", "--duration", "1", "--rounds", "3"],
    "bench_vs_bare_onnxruntime": ["--batches", "1", "8", "--duration", "1", "--rounds", "3"],
    "second_run": [],
    "tune_vs_grid": [],
    "verdict_validity": [],
}


def measured(name: str, words: list[str]) -> list[dict[str, Any]]:
    """Run one script and return its rows, none where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        start = time.perf_counter()
        print(f"{name} …", flush=True)
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *words, "--json", str(out)], check=False)
        if not out.is_file():
            print(f"{name} failed with exit code {done.returncode}", flush=True)
            return []
        rows: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return [row | {"script": name} for row in rows]


def page(rows: list[dict[str, Any]], seconds: float, failed: list[str]) -> str:
    """Return the page: one row per bar, what it was measured on, and which scripts did not end."""
    machine = rows[0]["machine"]
    packages = ", ".join(
        f"{name} {machine['packages'][name]}"
        for name in ("torch", "onnxruntime", "openvino", "pillow", "numpy")
        if machine["packages"].get(name)
    )
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` from the JSON of the scripts in `benchmarks/`. Each row measures both sides in one",
        "run, in turn; the ratio is the median over the rounds. Speeds of different rows may not be compared: the",
        "machine may have been shared. Peak memory and CPU seconds are those of our side where each side is a process",
        "of its own, else those of the script up to that row.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine['processor']}, {machine['cores']} cores, {machine['platform']}, "
        f"Python {machine['python']}, {packages}. {seconds / 60:.0f} minutes.",
        "",
        "| what | ours | theirs | unit | ratio | bar | met | peak MiB | CPU s | script |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- | ---: | ---: | --- |",
        *map(_line, rows),
        "",
        *([f"Not measured, the script did not end: {', '.join(failed)}.", ""] if failed else []),
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    sign = "≤" if row.get("lower_is_better") else "≥"
    met = "yes" if row["met"] else "**no**"
    values = f"{row['ours']:.2f} | {row['theirs']:.2f} | {row['unit']} | {row['ratio']:.3f} | {sign} {row['bar']}"
    cost = f"{_cost(row, 'peak_mib')} | {_cost(row, 'cpu_seconds')}"
    return f"| {row['name']} | {values} | {met} | {cost} | `{row['script']}` |"


def _cost(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    value = value["ours"] if isinstance(value, dict) else value
    return "–" if value is None else f"{value:.0f}"


def main() -> None:
    """Run, write the page, and leave with 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    parser.add_argument("--json", type=Path, help="the rows of all scripts")
    options = parser.parse_args()
    start, rows = time.perf_counter(), list[dict[str, Any]]()
    failed = []
    for name in options.only:
        found = measured(name, SCRIPTS[name])
        failed += [] if found else [name]
        rows += found
    options.out.write_text(page(rows, time.perf_counter() - start, failed), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    missed = [row["name"] for row in rows if not row["met"]] + [f"{name} (failed)" for name in failed]
    print(f"{options.out}: {sum(row['met'] for row in rows)} of {len(rows)} bars met", *missed, sep="\n  missed: ")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
