"""An engine that shows no inner tensors is bisected: the reference graph, cut ever nearer to the node that errs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.values import Array, Tensors
from modelport.diagnose.distance import NOWHERE, Distance, distance
from modelport.diagnose.trace.along import Node
from modelport.diagnose.trace.explained import explained_each
from modelport.diagnose.trace.findings import Unit, UnitFound
from modelport.diagnose.trace.running import Bench
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.model.graph.cut import alone, fed, prefix
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.modules import module_of

if TYPE_CHECKING:
    import onnx


class Taken(Protocol):
    """How tensors of the engine's model are had; a call is one run of the engine. Raises EngineError."""

    def __call__(self, model: onnx.ModelProto, feeds: Tensors) -> Mapping[str, Array]:
        """Return the outputs that the cut ``model`` of the reference has, as the engine makes them."""


@dataclass(slots=True)
class OnEngine:
    """The cut model, made for the engine as the whole one is, and run once."""

    engine: Engine
    build: Build
    launch: Launch
    folder: Path

    def __call__(self, model: onnx.ModelProto, feeds: Tensors) -> Mapping[str, Array]:
        """Return the outputs of the cut model."""
        path = self.folder / "cut.onnx"
        path.write_bytes(model.SerializeToString())
        made, build = Artifact.of(path, "onnx"), Build(None, self.build.precision, None, own=self.build.own)
        if self.engine.compiles_to is not None and self.engine.compiles_here:
            made = self.engine.compile(made, build, self.folder / f"cut{self.engine.compiles_to}")
        with self.engine.open(made, build, self.launch) as runner:
            return runner.run(fed(model, feeds))


Opened = Callable[[Sequence[str]], AbstractContextManager[Runner]]


@dataclass(slots=True)
class OfFile:
    """A compiled file whose tensors have the reference's names, opened with those of the cut as further outputs."""

    opened: Opened

    def __call__(self, model: onnx.ModelProto, feeds: Tensors) -> Mapping[str, Array]:
        """Return those tensors of the cut that the file has."""
        with self.opened([value.name for value in model.graph.output]) as runner:
            return runner.run(feeds)


@dataclass(slots=True)
class Bisection:
    """The reference graph with its inputs, cut for an engine that departs at the end of it."""

    graph: onnx.ModelProto
    feeds: Tensors
    precision: str
    taken: Taken
    runtime: Bench  # the reference runtime
    runs: int = 0  # of the engine
    notes: list[str] = field(default_factory=list)
    _flow: Flow | None = None
    _seen: dict[int, _Cut] = field(default_factory=dict)

    @property
    def flow(self) -> Flow:
        """The reference's nodes in order."""
        if self._flow is None:
            self._flow = Flow.of(self.graph)
        return self._flow

    @property
    def last(self) -> int:
        """The place of the last node."""
        return len(self.flow.varying) - 1

    def departs(self, place: int) -> bool:
        """Whether a tensor that lives behind the node at ``place`` is off by more than is explained; one run."""
        if place not in self._seen:
            self._seen[place] = self._cut(place)
        return self._seen[place].departs

    def first(self) -> int:
        """Return the place of the first node behind which the engine departs; the last, unasked, if none before is it.

        Of n nodes in at most ⌈log2 n⌉ runs: the tensors that live behind a node depart from the one that errs on,
        for the outputs hang on them alone.
        """
        low, high = 0, self.last
        while low < high:
            middle = (low + high) // 2
            if self.departs(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def alone(self, place: int) -> UnitFound:
        """Return the node at ``place``, run alone on the reference's tensors; one run."""
        step = self.flow.varying[place]
        feeds = self._reference(step)
        model = alone(self.flow, step, feeds)
        want, bounds = explained_each(model, feeds, self.precision, self.runtime)
        got = self._run(model, feeds)
        apart = {name: distance(got[name], array) if name in got else NOWHERE for name, array in want.items()}
        return self._unit(step, apart, bounds, self._seen.get(place))

    def within(self, place: int) -> UnitFound:
        """Return the node at ``place`` as the cut behind it found it: what flows into it does not depart."""
        if place not in self._seen:
            self.departs(place)
        seen = self._seen[place]
        return self._unit(self.flow.varying[place], seen.distances, seen.bounds, seen)

    def along(self, alone: UnitFound | None = None) -> list[Node]:
        """Return the nodes behind which was cut, with what was off there, and the neighbours of the one at the border.

        ``alone``: the node at the border as it was run alone, which tells its local error.
        """
        border = self.first()
        reads, gives = set(self.flow.varying[border].reads), set(self.flow.varying[border].gives)
        found = []
        for place, step in enumerate(self.flow.varying):
            near = place == border or reads & set(step.gives) or gives & set(step.reads)
            if not near and place not in self._seen:
                continue
            errors = {}
            if place in self._seen:
                unit = self.within(place)
                errors = {"accumulated": unit.accumulated.rel_l2, "expected": unit.expected}
            if place == border and alone is not None:
                errors |= {"local": alone.local.rel_l2, "expected": alone.expected}
            made = [name for name in step.reads if name in self.flow.maker and name not in self.flow.fixed]
            before = tuple(dict.fromkeys(self.flow.maker[name].name for name in made))
            found.append(Node(place, step.name, step.op, module_of(step.node, self.graph.graph), before, errors))
        return found

    def _unit(
        self, step: Step, apart: Mapping[str, Distance], bounds: Mapping[str, float], seen: _Cut | None
    ) -> UnitFound:
        output = max(step.gives, key=lambda name: _excess(apart, bounds, name))
        local = apart.get(output, NOWHERE)
        whole = local if seen is None else seen.distances.get(output, local)
        reads = tuple((name, name) for name in step.reads if name not in self.flow.fixed)
        unit = Unit(output, output, (step.name,), (step.name,), reads)
        module = module_of(step.node, self.graph.graph)
        return UnitFound(unit, step.op, step.name, module, local, whole, bounds.get(output, 0.0))

    def _cut(self, place: int) -> _Cut:
        model = prefix(self.flow, place, self.feeds)
        want, bounds = explained_each(model, fed(model, self.feeds), self.precision, self.runtime)
        got = self._run(model, self.feeds)
        if not got:
            return _Cut(True, {}, bounds)
        apart = {name: distance(got[name], array) for name, array in want.items() if name in got}
        numbers = {name for name in apart if want[name].dtype.kind == "f"} or set(apart)
        return _Cut(any(not apart[name].rel_l2 <= bounds[name] for name in numbers), apart, bounds)

    def _run(self, model: onnx.ModelProto, feeds: Tensors) -> Mapping[str, Array]:
        """Return what the engine answers; nothing where it refuses the model, which is a departure as well."""
        self.runs += 1
        try:
            return self.taken(model, feeds)
        except EngineError as error:
            self.notes.append(f"cut behind '{model.graph.node[-1].name}': {error.found}")
            return {}

    def _reference(self, step: Step) -> dict[str, Array]:
        """Return the reference's tensors that flow into a step."""
        reads = [name for name in step.reads if name not in self.flow.fixed]
        made = [name for name in reads if name in self.flow.maker]
        found: dict[str, Any] = {name: self.feeds[name] for name in reads if name in self.feeds}
        if made:
            before = max(self._place_of(name) for name in made)
            cut = prefix(self.flow, before, self.feeds, made)
            found |= self.runtime.run(cut, fed(cut, self.feeds))
        return found

    def _place_of(self, tensor: str) -> int:
        index = self.flow.maker[tensor].index
        return next(place for place, step in enumerate(self.flow.varying) if step.index == index)


@dataclass(frozen=True, slots=True)
class _Cut:
    departs: bool
    distances: Mapping[str, Distance]  # by tensor that lives across
    bounds: Mapping[str, float]  # what is explained of each


def _excess(apart: Mapping[str, Distance], bounds: Mapping[str, float], name: str) -> float:
    """Return how many times what is explained a tensor is off; below zero where it is not known."""
    if name not in apart:
        return -1.0
    far = apart[name].rel_l2 / (bounds.get(name, 0.0) or 1.0)
    return math.inf if math.isnan(far) else far
