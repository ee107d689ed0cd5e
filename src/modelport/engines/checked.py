"""A runner whose every answer is held against what the model declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import EngineError, ModelportError
from modelport.core.values import Array, Signature, Tensors, TensorSpec, shape_fits
from modelport.engines.base import DeviceTimes, Runner, TimedRunner
from modelport.engines.time_limit import RunStopped


def checked(runner: Runner, model: Path, batched: bool, alone: Callable[[], AbstractContextManager[Runner]]) -> Runner:
    """Return the runner, holding names, dtypes and shapes of each answer against its own signature.

    ``batched``: the first axis of every output is the batch, so that each row of an input has its own answer.
    ``alone`` opens the model for a batch of 1.
    """
    kind = _CheckedTimed if isinstance(runner, TimedRunner) else _Checked
    return kind(runner, model, batched, alone)


class _Checked:
    """Hands everything through; ``run`` raises EngineError for an answer that is not as declared."""

    def __init__(
        self, runner: Runner, model: Path, batched: bool, alone: Callable[[], AbstractContextManager[Runner]]
    ) -> None:
        self._runner, self._model, self._batched, self._alone = runner, model, batched, alone
        self.signature: Signature = runner.signature
        self.concurrency, self.precision = runner.concurrency, runner.precision
        self.notes: tuple[str, ...] = tuple(getattr(runner, "notes", ()))

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run once and hold the answer against the signature."""
        with self._explained(inputs):
            return self._held(inputs, self._runner.run(inputs))

    @contextmanager
    def _explained(self, inputs: Tensors) -> Iterator[None]:
        """Name a batch that is baked into the graph as that, where the engine's own words name some inner node."""
        try:
            yield
        except RunStopped:
            raise
        except EngineError as error:
            rows = {array.shape[0] for array in inputs.values() if array.ndim}
            if len(rows) != 1 or rows == {1} or not self._runs_one_row(inputs):
                raise
            raise EngineError(
                f"{self._model}: answers a batch of 1, and not of {rows.pop()}: a batch is baked into the graph "
                f"({error.found})",
                "run it with --batch 1, or export it again with a free batch",
            ) from error

    def _runs_one_row(self, inputs: Tensors) -> bool:
        try:
            # The runner itself may have been opened for a batch of another size.
            with self._alone() as runner:
                runner.run({name: array[:1] for name, array in inputs.items()})
        except ModelportError:
            return False
        return True

    def _held(self, inputs: Tensors, outputs: dict[str, Array]) -> dict[str, Array]:
        rows = next((array.shape[0] for array in inputs.values() if array.ndim), None) if self._batched else None
        for spec in self.signature.outputs:
            got = outputs.get(spec.name)
            if got is None or not _fits(got, spec, rows):
                found = "nothing" if got is None else f"{got.dtype} {got.shape}"
                asked = f" for {rows} rows of input" if rows is not None else ""
                raise EngineError(
                    f"{self._model}: output '{spec.name}' came as {found}{asked}, the model declares {spec}",
                    "a batch may be baked into the graph: export it again with a free batch, or use that --batch",
                )
        return outputs


class _CheckedTimed(_Checked):
    """The same for a runner that tells its device's clocks."""

    def run_timed(self, inputs: Tensors) -> tuple[dict[str, Array], DeviceTimes]:
        """Run once, hold the answer against the signature, and tell the clocks."""
        runner: Any = self._runner
        with self._explained(inputs):
            outputs, times = runner.run_timed(inputs)
            return self._held(inputs, outputs), times


def _fits(got: Array, spec: TensorSpec, rows: int | None) -> bool:
    own_rows = rows is None or got.shape[:1] == (rows,)
    return own_rows and got.dtype == np.dtype(spec.dtype) and shape_fits(got.shape, spec.shape)
