"""A model with more inputs and outputs than the task knows, as the task sees it.

Constant inputs (a size, a scale) are filled in, outputs that nobody reads are left out, and axes that the graph leaves
free have the recipe's sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.values import UNRANKED, Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Build, DeviceTimes, Runner, TimedRunner
from modelport.recipes.tables import Tensor


def fitted(runner: Runner, build: Build) -> Runner:
    """Return the runner as recipe and shapes have the model; the runner itself where that is its signature already."""
    told = [] if build.recipe is None else build.recipe.tensors.inputs
    constants = [tensor for tensor in told if tensor.value is not None]
    signature = _narrowed(runner.signature, build, {tensor.name for tensor in constants})
    if signature == runner.signature:
        return runner
    kind = _FittedTimed if isinstance(runner, TimedRunner) else _Fitted
    return kind(runner, signature, constants)


def with_constants(tensors: Iterable[Tensor], inputs: Tensors) -> dict[str, Array]:
    """Return the inputs (each with a batch of rows first), with those that have a value of their own added."""
    rows = len(next(iter(inputs.values())))
    filled = {}
    for tensor in tensors:
        if tensor.value is not None:
            shape = tensor.spec().with_batch(rows).shape
            filled[tensor.name] = np.broadcast_to(tensor.value, [int(axis) for axis in shape]).astype(tensor.dtype)
    return {**inputs, **filled}


class _Fitted:
    """Hands everything else through."""

    def __init__(self, runner: Runner, signature: Signature, constants: list[Tensor]) -> None:
        self._runner, self._constants, self.signature = runner, constants, signature
        self._outputs = [spec.name for spec in signature.outputs]
        self.concurrency, self.precision = runner.concurrency, runner.precision
        self.notes: tuple[str, ...] = tuple(getattr(runner, "notes", ()))

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run once. Raises SignatureError for a wrong input."""
        self.signature.check_inputs(inputs)
        return self._read(self._runner.run(with_constants(self._constants, inputs)))

    def _read(self, outputs: Tensors) -> dict[str, Array]:
        return {name: outputs[name] for name in self._outputs}


class _FittedTimed(_Fitted):
    """The same for a runner that tells its device's clocks."""

    def run_timed(self, inputs: Tensors) -> tuple[dict[str, Array], DeviceTimes]:
        """Run once, and tell the clocks. Raises SignatureError for a wrong input."""
        self.signature.check_inputs(inputs)
        runner: Any = self._runner
        outputs, times = runner.run_timed(with_constants(self._constants, inputs))
        return self._read(outputs), times


def _narrowed(have: Signature, build: Build, constants: set[str]) -> Signature:
    """Return what the task sees of a signature; what the recipe names and the model lacks stays to be refused."""
    want = Signature((), ()) if build.recipe is None else build.recipe.signature
    sizes: dict[str, Sequence[int | str]] = {spec.name: spec.shape for spec in (*want.inputs, *want.outputs)}
    sizes |= dict(build.shapes)
    inputs = tuple(_sized(spec, sizes) for spec in have.inputs if spec.name not in constants)
    outputs = {spec.name: _sized(spec, sizes) for spec in have.outputs}
    named = [spec.name for spec in want.outputs]
    if not named or not outputs.keys() >= set(named):
        named = list(outputs)
    return Signature(inputs, tuple(outputs[name] for name in named))


def _sized(have: TensorSpec, sizes: Mapping[str, Sequence[int | str]]) -> TensorSpec:
    """Return the tensor with sizes for the axes that it leaves free, or for all where it tells no shape."""
    mine = sizes.get(have.name, have.shape)
    if have.shape == UNRANKED:
        return TensorSpec(have.name, have.dtype, tuple(mine))
    if len(mine) != len(have.shape):
        return have
    pairs = zip(have.shape, mine, strict=True)
    shape = tuple(need if isinstance(got, str) and isinstance(need, int) else got for got, need in pairs)
    return TensorSpec(have.name, have.dtype, shape)
