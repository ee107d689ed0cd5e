"""The main job on sample data: draw, fit, run on every usable engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelport.core.progress import Progress
from modelport.engines.registry import availabilities
from modelport.jobs.port import REPORT, PortRequest, port
from modelport.jobs.samples import make_data, make_weights
from modelport.recipes.load import load_recipe

RECIPE = "moco-v2"
IMAGES = 320


def demo(out: Path, command: str, progress: Progress) -> dict[str, Any]:
    """Walk the whole road on samples under ``out``, once per usable engine; what lies there already is used again.

    Returns ``{"verdict", "runs": [result, …], "reports": [path, …], "skipped_engines": {name: why}}``; the verdict is
    the worst of the runs'.
    """
    data, weights = out / "data", out / "weights" / load_recipe(RECIPE).weights.file
    if (data / "val_label.txt").is_file():
        progress.note(f"using the sample data in {data}")
    else:
        make_data("imagenet", data, IMAGES, 0, progress)
    if weights.is_file():
        progress.note(f"using the sample weights {weights}")
    else:
        make_weights(RECIPE, data, weights, 0, progress)
    runs, reports, skipped = [], [], {}
    for engine, here in availabilities().items():
        if not here.usable:
            skipped[engine] = f"{here.reason}; {here.install}"
            continue
        folder = out / "runs" / f"{RECIPE}-{engine}"
        request = PortRequest(RECIPE, data, folder, weights=weights, engine=engine, force=True, command=command)
        runs.append(port(request, progress))
        reports.append(str(folder / REPORT))
    verdicts = [run["verdict"] for run in runs]
    worst = next(
        (word for word in ("fail", "inconclusive", "incomplete") if word in verdicts),
        "pass" if verdicts else "incomplete",
    )
    return {"verdict": worst, "runs": runs, "reports": reports, "skipped_engines": skipped}
