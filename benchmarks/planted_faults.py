"""Planted faults: are they noticed, placed, named and repaired, and do healthy ports pass unremarked?

Usage: python benchmarks/planted_faults.py [--half] [--short] [--seed 0] [--work DIR] [--resume] [--out FILE].
Under 90 minutes on two idle cores, ``--half`` under 40, ``--short`` (the ResNet-18 alone, one of every second kind) a
few. What is made once (graphs, weights, data) stays in ``--work``, and so do the rows: ``--resume`` does those that are
missing there. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from planted_knobs import engines, knob_trial, knobs
from planted_networks import FINE, OWN, SMALL, own, small
from planted_page import figures, missed, page
from planted_trials import FAULTS, FORMS, Row, Trial, graph_of, graph_trial, healthy_trial

# Plants: on each recipe's own graph, of the ResNet-18's graph, of its weights, of its settings.
ON_EACH, OF_GRAPH, OF_WEIGHTS, OF_SETTINGS = 9, 144, 20, 33
OF_EACH_WEIGHTS = 2
ON_GRAPH_ENGINES = ("onnxruntime", "openvino")
# Healthy forms that each of the recipes' own graphs is written in; the largest costs a minute each.
FORMS_ON_EACH = {"simclr": 7, "moco-v2": 5, "smlp-t": 6, "inception-v4": 4, "nas-fpn": 2}
# Healthy ports of the ResNet-18 that are made by the verbs: (kind, engine, words).
MADE = (
    ("exported", "onnxruntime", "--opset 13"),
    ("exported", "openvino", "--opset 16"),
    ("exported", "onnxruntime", "--opset 17"),
    ("exported", "openvino", "--opset 18"),
    ("exported", "onnxruntime", "--opset 21"),
    ("exported", "onnxruntime", "--batch 1"),
    ("exported", "openvino", "--batch 4"),
    ("exported", "onnxruntime", "--batch 8"),
    ("engine", "torch", ""),
    ("engine", "onnxruntime", ""),
    ("engine", "openvino", ""),
    ("batch", "onnxruntime", "--batch 1"),
    ("batch", "openvino", "--batch 16"),
    ("pixels", "onnxruntime", "--input-type uint8"),
    ("pixels", "openvino", "--input-type uint8"),
    ("precision", "onnxruntime", "--precision fp16"),
    ("precision", "openvino", "--precision bf16"),
    ("precision", "torch", "--precision bf16"),
    ("precision", "onnxruntime", "--precision int8"),
    ("precision", "openvino", "--precision int8"),
)
TRIALS = {"graph": graph_trial, "healthy": healthy_trial, "knob": knob_trial, "right": knob_trial}
ROWS = "rows.jsonl"
RIGHT = 3  # probes of a recipe of which nothing is wrong


def places_of(path: Path) -> dict[str, int]:
    """Return at how many nodes of a graph each kind can be planted."""
    return {kind: len(fault.places(graph_of(path))) for kind, fault in FAULTS.items()}


def drawn(seed: int, work: Path, networks: Sequence[str] = OWN) -> list[Trial]:
    """Return all trials, in the order of their numbers; ``networks`` beside the ResNet-18."""
    random = np.random.default_rng(seed)
    files = small(work / "small")
    here = {kind for kind, count in places_of(files.graph).items() if count}
    found: list[Trial] = []

    def add(what: str, kind: str, network: str, engine: str, more: str = "") -> None:
        found.append(Trial(len(found), what, kind, network, engine, seed, more))

    seen = set(here)
    for name in networks:
        there = [kind for kind, count in places_of(own(name, work / "own")).items() if count]
        random.shuffle(there)
        weights = [kind for kind in there if FAULTS[kind].family == "weights"]
        # First what can be planted nowhere else.
        graph = sorted((kind for kind in there if FAULTS[kind].family == "graph"), key=seen.__contains__)
        for kind in (*graph[: ON_EACH - OF_EACH_WEIGHTS], *weights[:OF_EACH_WEIGHTS]):
            add("graph", kind, name, "onnxruntime")
            seen.add(kind)
        forms = list(FORMS)
        random.shuffle(forms)
        applies = [kind for kind in forms if FORMS[kind].made(graph_of(own(name, work / "own"))) is not None]
        for kind in applies[: FORMS_ON_EACH[name]]:
            add("healthy", kind, name, "onnxruntime")
    for family, count in (("graph", OF_GRAPH), ("weights", OF_WEIGHTS)):
        kinds = sorted(kind for kind in here if FAULTS[kind].family == family)
        random.shuffle(kinds)
        for kind, engine in zip(islice(cycle(kinds), count), cycle(ON_GRAPH_ENGINES), strict=False):
            add("graph", kind, SMALL, engine)
    settings = knobs(small(work / "fine", fine=True))
    random.shuffle(settings)
    for (kind, value), engine in zip(islice(cycle(settings), OF_SETTINGS), engines(), strict=False):
        if kind == "layout" and engine == "torch":
            engine = "onnxruntime"  # the layout is a file's
        add("knob", kind, FINE, engine, value)
    for kind, form in FORMS.items():
        if form.made(graph_of(files.graph)) is not None:
            add("healthy", kind, SMALL, ON_GRAPH_ENGINES[len(found) % 2])
    for kind, engine, words in MADE:
        add("healthy", kind, SMALL, engine, words)
    for engine in islice(engines(), RIGHT):
        add("right", "recipe", FINE, engine)
    return found


def chosen(trials: list[Trial], options: argparse.Namespace) -> list[Trial]:
    """Return the trials that the options leave, the long ones first: what is left at the end is then short."""
    if options.short:
        trials = list({(trial.what, trial.kind): trial for trial in trials}.values())[::2]
    if options.half:
        random = np.random.default_rng(options.seed)
        trials = [trials[index] for index in random.permutation(len(trials))[: (len(trials) + 1) // 2]]
    if options.only:
        trials = [trial for trial in trials if options.only in (trial.what, trial.kind, trial.network)]
    cost = {"nas-fpn": 0, "inception-v4": 1, "smlp-t": 2, "knob": 3, "right": 3}
    return sorted(trials, key=lambda trial: (cost.get(trial.network, cost.get(trial.what, 4)), trial.number))


def done(trial: Trial, work: Path) -> Row | None:
    """Do one trial in a folder of its process; None where it changes nothing there."""
    begun = time.perf_counter()
    folder = work / f"process-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["MODELPORT_CACHE"] = str(folder / "cache")
    try:
        row = TRIALS[trial.what](trial, folder)
    except LookupError:
        return None
    finally:
        # No planted graph is compiled twice; all of them are many gigabytes.
        shutil.rmtree(folder / "cache" / "compiled", ignore_errors=True)
    return replace(row, seconds=round(time.perf_counter() - begun, 1))


def kept_rows(path: Path, trials: Sequence[Trial]) -> list[Row]:
    """Return the rows of an earlier run that are of these trials."""
    if not path.is_file():
        return []
    rows = [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = {(trial.number, trial.kind, trial.network) for trial in trials}
    return [row for row in rows if (row.number, row.kind, row.network) in wanted]


def main() -> None:
    """Draw, run in two processes, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", action="store_true", help="a seeded half")
    parser.add_argument("--short", action="store_true", help="the ResNet-18 alone, one of every second kind")
    parser.add_argument("--only", metavar="WORD", help="one network, one kind, or graph, healthy, knob, right")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier run of this seed and code")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build") / "planted")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "planted-faults.md")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = options.work.resolve()
    os.environ.setdefault("MODELPORT_CACHE", str(work / "cache"))
    trials = chosen(drawn(options.seed, work, () if options.short else OWN), options)
    rows = kept_rows(work / ROWS, trials) if options.resume else []
    trials = [trial for trial in trials if trial.number not in {row.number for row in rows}]
    with (
        (work / ROWS).open("a" if options.resume else "w", encoding="utf-8") as kept,
        ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool,
    ):
        waiting = [pool.submit(done, trial, work) for trial in trials]
        for place, future in enumerate(as_completed(waiting), 1):
            row = future.result()
            if row is not None:
                rows.append(row)
                kept.write(json.dumps(row.to_json()) + "\n")
                kept.flush()
                said = next((word for word, _ in missed([row])), "ok")
                print(
                    f"{place}/{len(trials)} {row.network} {row.kind} {row.where}: {said} ({row.seconds:.0f} s)",
                    flush=True,
                )
    rows.sort(key=lambda row: row.number)
    part = "a seeded half" if options.half else "a short form" if options.short else "the whole"
    seconds = sum(row.seconds for row in rows) / options.processes
    text = page(rows, seconds, f"{part}, seed {options.seed}")
    options.out.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(any(100 * hits < bar * count for _, hits, count, bar in figures(rows)))


if __name__ == "__main__":
    main()
