"""What ``run`` is asked for: the request, what cannot be, and the samples that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from modelport.core.errors import UsageError
from modelport.core.values import DataSet
from modelport.data.sets.selection import MARGIN
from modelport.data.sets.table import open_dataset, open_labelled
from modelport.data.sets.unlabelled import open_images
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.recipes.setting import read_setting
from modelport.report.detections import DetectionFiles
from modelport.stages.plan import Given, Wish
from modelport.tasks.table import need_labels, task_of
from modelport.verdict.settings import Judging


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What ``modelport run`` is asked for."""

    recipe: str
    data: Path | None  # laid out as the recipe's kind; or else ``images``
    out: Path
    weights: Path | None = None
    model: Path | None = None
    source: Path | Literal["none"] | None = None
    wish: Wish = field(default_factory=Wish)
    limit: int | None = None
    order: str | None = None  # data, random or margin; None: random under a limit or until it is decided, else data
    judging: Judging = field(default_factory=Judging)
    seed: int = 0
    variant: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) in place of the recipe's
    checkpoint_key: str | None = None  # of the state dict in the checkpoint, where it holds several
    on_bad_image: Literal["fail", "skip"] = "fail"
    force: bool = False
    files: DetectionFiles = field(default_factory=DetectionFiles)
    command: str = ""
    fast: bool = False  # resize the quicker way
    images: Path | None = None  # a folder of images without labels
    labels: Path | None = None  # of those images: a file or folder that one of the kinds of data sets reads
    predict: bool = False  # look at no label
    thumbnails: bool = True  # whether small pictures of samples go into ``out``
    precision_plan: Path | None = None  # nodes of the float32 graph that stay in float: `trace --apply` judges such

    @property
    def given(self) -> Given:
        """The files of the model. Raises UsageError for two that say the same thing."""
        return Given(self.weights, self.model, self.source)


def wish_of(recipe: str, setting: Path | None, given: Mapping[str, Any]) -> Wish:
    """Return what a setting file says, and over it what was given by hand (None: not given).

    Raises RecipeError for a file that is no setting, UsageError for one of another recipe.
    """
    wanted: dict[str, Any] = {}
    if setting is not None:
        found = read_setting(setting)
        if found.recipe != load_recipe(recipe).name:
            raise UsageError(f"{setting} is a setting of {found.recipe}", f"give one of {recipe}")
        wanted = {key: getattr(found, key) for key in ("engine", "precision", "batch", "threads", "input_type")}
        wanted["in_flight"] = found.concurrency
        wanted["calibration"] = Path(found.calibration) if found.calibration else None
    wanted |= {key: value for key, value in given.items() if value is not None}
    if wanted.get("precision", "fp32") != "int8" and given.get("calibration") is None:
        wanted.pop("calibration", None)
    return Wish(**wanted)


def check_asked(recipe: Recipe, files: DetectionFiles) -> None:
    """Raise UsageError early for files of boxes of what finds none."""
    if files.wanted and not task_of(recipe).finds_boxes:
        raise UsageError(f"{recipe.name} is no detector", "leave --draw, --detections and --coco-json out")


def check_until_decided(request: RunRequest, recipe: Recipe) -> None:
    """Raise UsageError for a run until it is decided where nothing could decide it."""
    task = task_of(recipe)
    if request.order == MARGIN and not (request.judging.until_decided and task.has_margins):
        raise UsageError(
            "--order margin: where the source's answer hangs on little is asked only until it is decided, of a task "
            "whose scores tell",
            f"give it with --until-decided, to a classifier; {recipe.name} is of the task {recipe.task}",
        )
    if not request.judging.until_decided:
        return
    if request.predict or not task.needs_labels:
        raise UsageError("--until-decided without labels: what decides is who is right", "leave it out, or give labels")


def judging_of(judging: Judging, samples: int, total: int, order: str | None, seed: int) -> Judging:
    """Return how a verdict on so many ``samples`` of ``total`` is come by, with the order in which they came."""
    drawn = order == "random" or (order is None and (judging.until_decided or samples < total))
    word = MARGIN if order == MARGIN else "random" if drawn else "data"
    return replace(judging, order=word, planned=samples, seed=seed)


def dataset_of(request: RunRequest, recipe: Recipe) -> DataSet:
    """Return the samples. Raises UsageError where labels are needed and there are none, or boxes go to COCO's list."""
    if (request.data is None) == (request.images is None):
        found = (
            "neither --data nor --images was given" if request.data is None else "--data and --images were both given"
        )
        raise UsageError(found, "give --data DIR, the recipe's data set, or --images DIR, images without labels")
    if request.predict and request.files.coco_json is not None:
        raise UsageError("--coco-json names images by their annotations' ids", "leave it out, or --predict")
    if request.labels is not None:
        return _labelled(request.images, request.labels, recipe)
    if request.images is None:
        if not request.predict:
            need_labels(recipe)
        assert request.data is not None
        return open_dataset(recipe, request.data)
    if not request.predict and task_of(recipe).needs_labels:
        raise UsageError(
            f"--images {request.images}: the task {recipe.task} is scored against labels, and there are none",
            "add --labels FILE, or --predict to score the agreement with the source alone, or give --data",
        )
    # Boxes are drawn and listed by their class's name; where the recipe has none, it is its number.
    names = recipe.dataset.names or map(str, range(recipe.dataset.classes or 0))
    return replace(open_images(request.images), categories=tuple(enumerate(names)))


def _labelled(images: Path | None, labels: Path, recipe: Recipe) -> DataSet:
    if images is None:
        raise UsageError(f"--labels {labels}: of which images", "give it with --images DIR")
    return open_labelled(recipe, images, labels)
