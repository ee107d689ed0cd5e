"""Each prepared input is run once, and a change that cannot be answered stops no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelport.core.errors import DataError
from modelport.core.values import Array, Sample, Signature, Tensors
from modelport.diagnose.changes.base import AS_IT_IS, Change
from modelport.diagnose.changes.table import Changed, changed_recipes
from modelport.diagnose.probe.tally import ClassTally
from modelport.diagnose.probe.trials import Trials
from modelport.engines.base import Runner
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of

SAMPLES = 10


class Counting(Runner):
    """Answers with the means of the channels; counts the batches that it was run on."""

    concurrency, precision = 1, "fp32"

    def __init__(self, recipe: Recipe, factor: float = 1.0) -> None:
        self._recipe, self._factor, self.runs = recipe, factor, 0

    @property
    def signature(self) -> Signature:
        return self._recipe.signature

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.runs += 1
        means = next(iter(inputs.values())).mean(axis=(2, 3))
        return {self._recipe.tensors.outputs[0].name: self._factor * np.tile(means, (1, 4))[:, :10].astype(np.float32)}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    made = []
    for row in range(SAMPLES):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(folder / f"{row}.png")
        made.append(Sample(str(row), row % 10, folder / f"{row}.png"))
    return made


def tallies(recipe: Recipe) -> dict[tuple[str, str], ClassTally]:
    """Return a tally for the recipe as it is and for each change."""
    all_of_them = [Changed(AS_IT_IS, recipe), *changed_recipes(recipe, task_of(recipe))]
    return {(one.change.kind, one.change.value): ClassTally(one, "top1", "labels") for one in all_of_them}


def test_what_is_prepared_alike_is_run_once(tiny: Recipe, samples: list[Sample]) -> None:
    runner, made = Counting(tiny), tallies(tiny)
    opened = Counter[str]()

    @contextmanager
    def opening(recipe: Recipe) -> Iterator[Runner]:
        opened[recipe.name] += 1
        yield runner

    trials = Trials(tiny, samples, 4, opening, runner)
    free = [made[name] for name in (("", "as it is"), ("label_offset", "1"), ("class_order", "turned round"))]
    trials.extend(free, 6)
    # Two batches for three tallies; images that no camera has turned are prepared alike, whatever the step says.
    assert runner.runs == trials.runs == 2 and [tally.n for tally in free] == [6] * 3
    exif = next(tally for (kind, _), tally in made.items() if kind == "exif_rotation")
    trials.extend([exif], 6)
    assert runner.runs == 2 and exif.same and not any(tally.same for tally in free)
    assert (exif.scores == free[0].scores).all()
    blue = next(tally for (kind, _), tally in made.items() if kind == "channel_order")
    trials.extend([blue], 6)
    assert runner.runs == 4 and not blue.same and (blue.scores != exif.scores).any()
    trials.extend(free, 10)
    assert runner.runs == 5 and [tally.n for tally in free] == [10] * 3 and not opened


def test_other_weights_are_opened_for_themselves(tiny: Recipe, samples: list[Sample]) -> None:
    raw, averaged = Counting(tiny), Counting(tiny, 2.0)

    @contextmanager
    def opening(recipe: Recipe) -> Iterator[Runner]:
        assert recipe.checkpoint.unwrap == ["ema"]
        yield averaged

    change = Change("weights", "ema", "", recipe=lambda recipe: recipe.with_checkpoint_key("ema"))
    base = ClassTally(Changed(AS_IT_IS, tiny), "top1", "labels")
    other = ClassTally(Changed(change, tiny.with_checkpoint_key("ema")), "top1", "labels")
    Trials(tiny, samples, 4, opening, raw).extend([base, other], 8)
    assert (raw.runs, averaged.runs) == (2, 2) and not other.same
    assert np.allclose(other.scores, 2 * base.scores)


def test_one_that_cannot_be_answered_stops_no_other(tiny: Recipe, samples: list[Sample]) -> None:
    def broken(outputs: Tensors) -> Tensors:
        raise DataError("no such output", "mend it")

    runner = Counting(tiny)

    @contextmanager
    def opening(recipe: Recipe) -> Iterator[Runner]:
        raise DataError("no such weights", "mend them")
        yield runner

    base = ClassTally(Changed(AS_IT_IS, tiny), "top1", "labels")
    outputs = ClassTally(Changed(Change("a", "b", "", outputs=broken), tiny), "top1", "labels")
    weights = ClassTally(Changed(Change("c", "d", ""), tiny.with_checkpoint_key("ema")), "top1", "labels")
    trials = Trials(tiny, samples, 4, opening, runner)
    trials.extend([base, outputs, weights], 8)
    assert base.n == 8 and (outputs.failed, weights.failed) == ("no such output", "no such weights")
    missing = Trials(tiny, [Sample("gone", 0, Path("gone.png"))], 4, opening, runner)
    with pytest.raises(DataError, match=r"gone\.png[^$]*probe skips none"):
        missing.extend([ClassTally(Changed(AS_IT_IS, tiny), "top1", "labels")], 1)


def test_the_source_is_asked_once_for_all_changes(tiny: Recipe, samples: list[Sample]) -> None:
    runner, source = Counting(tiny), Counting(tiny)

    @contextmanager
    def opening(recipe: Recipe) -> Iterator[Runner]:
        yield runner

    made = [
        ClassTally(one, "top1", "agreement")
        for one in (Changed(AS_IT_IS, tiny), *changed_recipes(tiny, task_of(tiny))[:6])
    ]
    Trials(tiny, samples, 4, opening, runner, source).extend(made, 8)
    assert source.runs == 2 and runner.runs > 2
    assert made[0].earned().metric is not None and made[0].targets == made[0].scores.argmax(axis=1).tolist()
