"""Pieces of graphs on the reference runtime, and a whole graph run through window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.artifacts import Artifact, cache_folder
from modelport.core.errors import EngineError, ModelportError, raised_as
from modelport.core.scratch import scratch_folder
from modelport.core.text import plain
from modelport.core.values import Array
from modelport.engines.base import Build, Engine, Launch
from modelport.engines.registry import opened, reference_engine
from modelport.model.graph.flow import Flow, Kind, Step
from modelport.model.graph.window import window_model

if TYPE_CHECKING:
    import onnx

MOST_WORDS = 400


@dataclass(slots=True)
class Bench:
    """Runs models that live for one run, without any rewriting of the graph."""

    engine: Engine
    folder: Path
    runs: int = 0

    def run(self, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return all outputs. Raises EngineError with the engine's words."""
        path = self.folder / "piece.onnx"
        found = "a piece of the graph is too large for one file"
        with raised_as(EngineError, found, "take a smaller model", ValueError):
            content = model.SerializeToString()
        path.write_bytes(content)
        self.runs += 1
        with opened(self.engine, Artifact(path, "onnx", ""), Build(precision=None), Launch(plain=True)) as runner:
            return runner.run(feeds)


@contextmanager
def bench() -> Iterator[Bench]:
    """Yield a bench with the reference runtime. Raises EngineError where there is none."""
    with scratch_folder(cache_folder("diagnose"), "trace") as folder:
        yield Bench(reference_engine(), folder)


@dataclass(slots=True)
class Walk:
    """A graph on its way from the inputs to the outputs, one window after the other.

    What no later window reads is let go. A step that fails, and what hangs on it, gives nothing: ``broken`` has the
    engine's words by the step's tensors.
    """

    flow: Flow
    windows: Sequence[Sequence[Step]]
    bench: Bench
    alive: dict[str, Array]
    broken: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # the steps that failed themselves, by name
    done: int = 0

    @property
    def ended(self) -> bool:
        """Whether every window has been run."""
        return self.done >= len(self.windows)

    def advance(self, wanted: frozenset[str]) -> dict[str, Array]:
        """Run the next window and return those of the tensors made in it that are ``wanted``."""
        steps = self.windows[self.done]
        self.done += 1
        made = self._run(steps, wanted)
        after = steps[-1].index
        later = {name for name in self.alive if any(taker.index > after for taker in self.flow.takers.get(name, ()))}
        self.alive = {name: array for name, array in self.alive.items() if name in later}
        return {name: array for name, array in made.items() if name in wanted}

    def _run(self, steps: Sequence[Step], wanted: frozenset[str]) -> dict[str, Array]:
        able = self._able(steps)
        inside = {step.index for step in able}
        gives = [name for step in able for name in step.gives]
        outputs = [
            name
            for name in gives
            if name in wanted or any(taker.index not in inside for taker in self.flow.takers.get(name, ()))
        ]
        if not outputs:
            return {}
        own = set(gives)
        reads = dict.fromkeys(name for step in able for name in step.reads)
        feeds = {name: self.alive[name] for name in reads if name not in own and name not in self.flow.fixed}
        try:
            made = self.bench.run(window_model(self.flow, able, feeds, outputs), feeds)
        except EngineError as error:
            if len(able) > 1:
                middle = len(able) // 2
                return self._run(able[:middle], wanted) | self._run(able[middle:], wanted)
            self.failed[able[0].name] = words_of(error)
            self.broken |= dict.fromkeys(able[0].gives, words_of(error))
            return {}
        self.alive |= made
        return made

    def _able(self, steps: Sequence[Step]) -> list[Step]:
        """Return the steps whose inputs are there; the others are broken by those that they hang on."""
        able = []
        for step in steps:
            words = next((self.broken[name] for name in step.reads if name in self.broken), None)
            if words is None:
                able.append(step)
            else:
                self.broken |= dict.fromkeys(step.gives, words)
        return able


def words_of(error: ModelportError) -> str:
    """Return what an engine said, in one plain line of MOST_WORDS characters at most."""
    return plain(" ".join(error.found.split()), MOST_WORDS)


def floats(kinds: Mapping[str, Kind], name: str) -> bool:
    """Whether a tensor is one of floating point, as far as is known: what is not known may be."""
    from modelport.model.graph.file import FLOATING

    kind = kinds.get(name)
    return kind is None or (kind.is_tensor and (kind.elem_type in FLOATING or not kind.elem_type))
