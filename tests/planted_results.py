"""Result folders as ``run`` leaves them, in which each sample is answered as a test plants it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelport.core.progress import Silent
from modelport.jobs.run import run
from modelport.jobs.run_request import RunRequest
from modelport.recipes.load import load_recipe
from modelport.stages.plan import Wish

TOLERANCE = re.compile(r"^\[tolerance\]\nvalue = .*\nunit = .*$", re.MULTILINE)
Change = Callable[[dict[str, Any]], None]


def digest(content: bytes) -> str:
    """Return the sha256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def null_run(recipe: Path, data: Path, weights: Path, out: Path) -> Path:
    """Run the null engine; return ``out``, a real result folder."""
    run(RunRequest(str(recipe), data, out, weights=weights, wish=Wish(engine="null")), Silent())
    return out


def planted(
    folder: Path,
    like: Path,
    recipe: Path,
    right: Sequence[bool],
    start: int = 0,
    samples: bool = True,
    change: Change | None = None,
) -> Path:
    """Write a folder of the form of the result ``like`` whose samples, from number ``start`` on, are right or not.

    ``change`` edits result.json's value last. ``samples``: whether samples.jsonl lies there. Tolerance: one point.
    """
    folder.mkdir(parents=True)
    text, changed = TOLERANCE.subn('[tolerance]\nvalue = 1.0\nunit = "points"', recipe.read_text())
    assert changed == 1
    (folder / "recipe.toml").write_text(text)
    value = json.loads((like / "result.json").read_text())
    lines, ids = [], []
    for place, good in enumerate(right, start):
        told = {"id": f"{place:05}.png", "sha256": digest(f"{place}".encode())}
        ids.append((told["id"], told["sha256"]))
        lines.append(told | {"target": place % 10, "agrees": True, "values": {"top1": [float(good), 1.0]}})
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / "samples.jsonl").write_bytes(content)
    n, share = len(right), sum(right) / len(right)
    stderr = 100 * math.sqrt(share * (1 - share) / n)
    value["metrics"] = {"top1": {"value": 100 * share, "unit": "percent", "n": n, "stderr": stderr}}
    value["n"], value["paired"] = n, {"top1": {"both": sum(right)}}
    value["dataset"] |= {"n": n, "fingerprint": digest(repr(sorted(ids)).encode())}
    value["companions"] = {"samples.jsonl": digest(content), "recipe.toml": digest(text.encode())}
    value["recipe_sha256"] = load_recipe(str(folder / "recipe.toml")).digest
    value["checks"] = [check for check in value["checks"] if check["name"] == "top1_vs_source"]
    if change is not None:
        change(value)
    (folder / "result.json").write_text(json.dumps(value))
    if not samples:
        (folder / "samples.jsonl").unlink()
    return folder
