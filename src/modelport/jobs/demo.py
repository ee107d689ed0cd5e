"""The main job on sample data: draw, make weights, run on every usable engine, and one page over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_text
from modelport.core.progress import Progress
from modelport.engines.registry import availabilities, defaults
from modelport.jobs.run import run
from modelport.jobs.run_request import RunRequest
from modelport.jobs.samples import make_data, make_weights
from modelport.recipes.load import load_recipe
from modelport.report.page.draw import page
from modelport.report.page.found import found
from modelport.report.result import Result
from modelport.report.result_folder import PAGE, REPORT
from modelport.stages.plan import Wish

RECIPES = ("moco-v2",)
ALL_RECIPES = ("moco-v2", "simclr", "inception-v4", "smlp-t", "nas-fpn")
# One percent of a reference of 62 % and more is settled by 480 images, where no answer flips; these weights reach 80.
IMAGES = {"imagenet": 480, "cifar10": 512, "coco": 12}
# The heavy networks score fewer images, so that the whole demonstration stays within ten minutes on two cores.
LIMITS = {"inception-v4": 60, "smlp-t": 100}
TITLE = "modelport demo: sample data and sample weights"


@dataclass(frozen=True, slots=True)
class Demo:
    """The runs on sample data, where their reports lie, and the engines that were left out, with the reason."""

    runs: tuple[Result, ...]
    reports: tuple[str, ...]
    skipped_engines: dict[str, str]
    page: str | None = None  # over all runs; None where nothing ran

    @property
    def verdict(self) -> str:
        """The worst of the runs'."""
        found = [run.verdict for run in self.runs]
        worst = next((word for word in ("fail", "incomplete", "inconclusive") if word in found), "pass")
        return worst if found else "incomplete"

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "verdict": self.verdict,
            "runs": [run.to_json() for run in self.runs],
            "reports": list(self.reports),
            "skipped_engines": self.skipped_engines,
            "page": self.page,
        }


def demo(out: Path, everything: bool, command: str, progress: Progress) -> Demo:
    """Walk the whole road on samples under ``out``, once per model and usable engine; what lies there is used again."""
    here = availabilities()
    runs, folders = [], []
    for recipe in ALL_RECIPES if everything else RECIPES:
        data, weights = _samples(recipe, out, progress)
        for engine in (engine.name for engine in defaults() if here[engine.name].usable):
            progress.note(f"{recipe} on {engine}")
            folder = out / "runs" / f"{load_recipe(recipe).name}-{engine}"
            limit = LIMITS.get(recipe)
            request = RunRequest(
                recipe, data, folder, weights=weights, wish=Wish(engine), limit=limit, force=True, command=command
            )
            runs.append(run(request, progress))
            folders.append(folder)
    skipped = {name: f"{entry.reason}; {entry.install}" for name, entry in here.items() if not entry.usable}
    reports = tuple(str(folder / REPORT) for folder in folders)
    return Demo(tuple(runs), reports, skipped, _page(out, folders) if folders else None)


def _page(out: Path, folders: Sequence[Path]) -> str:
    """Write one page over all runs; return its path."""
    write_text(out / PAGE, page(found(folders), TITLE))
    return str(out / PAGE)


def _samples(recipe_name: str, out: Path, progress: Progress) -> tuple[Path, Path]:
    """Return sample data and weights of a recipe, made where they are missing."""
    recipe = load_recipe(recipe_name)
    data = out / "data" / recipe.dataset.kind
    weights = out / "weights" / recipe.name / recipe.published_weights.file
    # A set is drawn aside and renamed: where the folder is, the set is whole.
    if data.is_dir():
        progress.note(f"using the sample data in {data}")
    else:
        make_data(recipe.dataset.kind, data, IMAGES[recipe.dataset.kind], 0, progress)
    if weights.is_file():
        progress.note(f"using the sample weights {weights}")
    else:
        make_weights(recipe_name, data, weights, 0, progress)
    return data, weights
