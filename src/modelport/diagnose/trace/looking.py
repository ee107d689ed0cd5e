"""One of two graphs that are compared: as its file has it, as it is run, and what a first run of it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.errors import GraphError
from modelport.core.progress import Bar
from modelport.core.values import Array
from modelport.diagnose.trace.running import Bench, Walk, floats
from modelport.diagnose.trace.sides import Side
from modelport.diagnose.trace.sketch import Sketch, sketch
from modelport.model.graph.float16_twin import float32_twin, knows_float16
from modelport.model.graph.flow import Flow, Kind
from modelport.model.graph.window import windows

if TYPE_CHECKING:
    import onnx

MOST_STEPS = 64


@dataclass(slots=True)
class Graph:
    """One of the two graphs: as the file has it, and as it is run (float16 as float32 that is rounded)."""

    model: onnx.ModelProto
    flow: Flow
    runs: Flow
    feeds: Mapping[str, Array]
    kinds: Mapping[str, Kind]
    sketches: dict[str, Sketch] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # what the engine said, by node
    broken: dict[str, str] = field(default_factory=dict)  # by tensor, also those that hang on them

    @staticmethod
    def of(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Graph:
        """Return the graph, ready to be run on ``feeds``."""
        flow = Flow.of(model)
        twin = float32_twin(model) if knows_float16(model) else model
        runs = flow if twin is model else Flow.of(twin)
        given = _by_name([value.name for value in flow.inputs], feeds)
        own = {name: _as_float32(array) for name, array in given.items()} if twin is not model else given
        return Graph(model, flow, runs, own, runs.kinds(own))

    @property
    def side(self) -> Side:
        """What pairing takes, once the graph was looked through."""
        barred = [name for name in self.kinds if not self._is_number(name)]
        return Side.of(self.flow, self.sketches, self.broken, barred)

    def walk(self, runtime: Bench, limit: int) -> Walk:
        """Return a walk through the graph from its inputs."""
        return Walk(self.runs, windows(self.runs, self.kinds, limit, MOST_STEPS), runtime, dict(self.feeds))

    def look(self, runtime: Bench, limit: int, bar: Bar) -> None:
        """Run the graph once and keep a sketch of every tensor."""
        ends = set(self.flow.outputs)
        made = {name for step in self.flow.varying for name in step.gives}
        wanted = frozenset(
            name for name in made if floats(self.kinds, name) or (name in ends and self._is_number(name))
        )
        self.sketches |= {name: sketch(array) for name, array in self.feeds.items()}
        walk = self.walk(runtime, limit)
        while not walk.ended:
            for name, array in walk.advance(wanted).items():
                if array.dtype.kind == "f" or name in ends:
                    self.sketches[name] = sketch(array)
            bar.advance()
        self.failed, self.broken = walk.failed, walk.broken

    def _is_number(self, name: str) -> bool:
        from onnx import TensorProto

        kind = self.kinds.get(name)
        return kind is None or (kind.is_tensor and kind.elem_type != TensorProto.STRING)


def _by_name(inputs: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return what each input is fed. One of another name takes what no input is called as, in order."""
    spare = [name for name in feeds if name not in inputs]
    missing = [name for name in inputs if name not in feeds]
    if len(missing) > len(spare):
        raise GraphError(f"nothing is given for the graph's input '{missing[0]}'", f"given are {', '.join(feeds)}")
    other = dict(zip(missing, spare, strict=False))
    return {name: feeds[other.get(name, name)] for name in inputs}


def _as_float32(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
