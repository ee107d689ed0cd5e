"""Runs of the model under many changes, on the same samples: each prepared input is run once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np

from modelport.core.artifacts import digest_json
from modelport.core.errors import BadSampleError, DataError, ModelportError
from modelport.core.progress import Bar
from modelport.core.values import Batch, RowId, Sample, Tensors
from modelport.data.stream.feeding import feed
from modelport.diagnose.asking import Answers, answers_of, with_inputs
from modelport.diagnose.changes.base import AS_IT_IS
from modelport.diagnose.changes.table import Changed
from modelport.diagnose.probe.tally import Tally
from modelport.engines.base import Runner
from modelport.recipes.schema import Recipe


class Answering(Protocol):
    """What answers samples under a change."""

    @property
    def n(self) -> int:
        """Samples that there are."""

    def extend(self, tallies: Sequence[Tally], stop: int) -> None:
        """Let each tally take the answers to the samples up to ``stop``; one that cannot be answered has ``failed``."""


# Bytes of answers that are kept for changes that prepare the same.
MOST_KEPT = 256 * 1024 * 1024


def taken(tally: Tally, answers: Answers, source: Answers | None) -> None:
    """Let a tally take answers; one that cannot has ``failed``, but the recipe as it is raises what was raised."""
    if tally.failed:
        return
    try:
        tally.take(answers, source)
    except ModelportError as error:
        if tally.changed.change is AS_IT_IS:
            raise
        tally.failed = error.found


# Opens the model that a recipe (its checkpoint key) names.
Opening = Callable[[Recipe], AbstractContextManager[Runner]]


@dataclass
class Trials(Answering):
    """Answers by running a model. ``batch`` is that of each run; ``source`` answers as the recipe says."""

    recipe: Recipe
    samples: Sequence[Sample]
    batch: int
    opening: Opening
    runner: Runner  # of the recipe itself
    source: Runner | None = None  # held against, where nothing else tells what is right
    seed: int = 0
    bar: Bar | None = None
    runs: int = field(default=0, init=False)  # batches that the model was run on
    _kept: dict[tuple[Sequence[RowId], bytes], Tensors] = field(default_factory=dict, init=False)
    # The source's answers, and from which sample on they are.
    _held: tuple[int, list[Answers]] = field(default_factory=lambda: (0, []), init=False)
    _digests: dict[Sequence[RowId], bytes] = field(default_factory=dict, init=False)

    @property
    def n(self) -> int:
        """Samples that there are."""
        return len(self.samples)

    def extend(self, tallies: Sequence[Tally], stop: int) -> None:
        """Run the model on what is new, once for all changes that prepare it alike."""
        groups: dict[tuple[int, str], list[Tally]] = {}
        for tally in tallies:
            if not tally.failed:
                groups.setdefault((tally.n, run_key(tally.changed, self.recipe)), []).append(tally)
        own = run_key(None, self.recipe)
        # The recipe's own inputs first: what others prepare alike is not run again.
        for (start, _), group in sorted(groups.items(), key=lambda entry: entry[0][1] != own):
            if start < min(stop, self.n):
                self._extend(group, start, stop)

    def _extend(self, group: Sequence[Tally], start: int, stop: int) -> None:
        changed = group[0].changed
        samples = self.samples[start:stop]
        try:
            with self._runner_of(changed) as runner, closing(self._theirs(start, samples)) as theirs:
                for answers, same in self._answers(changed, samples, runner):
                    source = next(theirs, None)
                    for tally in group:
                        tally.same = same and (tally.same or not tally.n)
                        taken(tally, answers, source)
        except ModelportError as error:
            if any(tally.changed.change is AS_IT_IS for tally in group):
                if isinstance(error, BadSampleError):
                    raise DataError(error.found, "mend or remove the file: probe skips none") from error
                raise
            for tally in group:
                tally.failed = error.found
        if self.bar is not None:
            self.bar.advance()

    def _theirs(self, start: int, samples: Sequence[Sample]) -> Generator[Answers, None, None]:
        """Yield the source's answers batch by batch; they are kept for the next change where they are not too many."""
        if self.source is None:
            return
        rows = len(samples) * self.recipe.dataset.views
        if self._held[0] == start and sum(len(answers.ids) for answers in self._held[1]) == rows:
            yield from self._held[1]
            return
        kept, size = list[Answers](), 0
        self._held = start, kept
        for batch in self._fed(self.recipe, samples):
            answers = answers_of(batch, self.source.run(batch.inputs))
            size += sum(array.nbytes for array in answers.outputs.values())
            if size <= MOST_KEPT:
                kept.append(answers)
            yield answers

    @contextmanager
    def _runner_of(self, changed: Changed) -> Iterator[Runner]:
        if changed.recipe.checkpoint == self.recipe.checkpoint:
            yield self.runner
        else:
            with self.opening(changed.recipe) as runner:
                yield runner

    def _answers(self, changed: Changed, samples: Sequence[Sample], runner: Runner) -> Iterator[tuple[Answers, bool]]:
        """Yield the answers batch by batch, and whether another preparation has come to the recipe's own rows."""
        own = run_key(changed, self.recipe) == run_key(None, self.recipe)
        if own:
            self._kept.clear()
        name = self.recipe.tensors.sample.name
        for prepared in self._fed(changed.recipe, samples):
            batch = with_inputs(prepared, name, changed.change.inputs)
            digest = _digest_of(batch)
            other = own or runner is not self.runner
            same = not other and self._digests.get(batch.ids) == digest
            outputs = None if other else self._kept.get((batch.ids, digest))
            if outputs is None:
                outputs = runner.run(batch.inputs)
                self.runs += 1
            if own:
                self._keep(batch, digest, outputs)
            yield answers_of(batch, outputs), same

    def _fed(self, recipe: Recipe, samples: Sequence[Sample]) -> Iterator[Batch]:
        with closing(feed(recipe, iter(samples), self.batch, seed=self.seed)) as batches:
            yield from batches

    def _keep(self, batch: Batch, digest: bytes, outputs: Tensors) -> None:
        """Keep the recipe's own answers for changes that prepare the same, as far as they fit into the memory."""
        self._digests[batch.ids] = digest
        held = sum(array.nbytes for kept in self._kept.values() for array in kept.values())
        if held + sum(array.nbytes for array in outputs.values()) <= MOST_KEPT:
            self._kept[batch.ids, digest] = outputs


def _digest_of(batch: Batch) -> bytes:
    found = blake2b(digest_size=16)
    for name in sorted(batch.inputs):
        found.update(np.ascontiguousarray(batch.inputs[name]).data)
    return found.digest()


def run_key(changed: Changed | None, recipe: Recipe) -> str:
    """Return what decides the model's answers; changes of outputs, labels and places have the recipe's own (None)."""
    made = recipe if changed is None else changed.recipe
    moved = None if changed is None or changed.change.inputs is None else [changed.change.kind, changed.change.value]
    told = made.to_json()
    return digest_json([told["preprocess"], told["tensors"]["inputs"], told.get("checkpoint"), moved])
