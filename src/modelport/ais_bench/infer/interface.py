"""``InferSession`` with ais_bench's names: scripts change one import to run .onnx, .xml and .om files.

Other than there, nothing is reinterpreted: an array of another dtype or size is refused, where ais_bench takes its
bytes. Left out are what needs device memory in Python's hands (``create_tensor…``, ``infer_iteration``, AIPP at run
time) and ``MultiDeviceSession``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import EngineError, SignatureError, UsageError, unknown
from modelport.core.values import Array, TensorSpec
from modelport.engines.base import Build, Launch, Runner
from modelport.engines.registry import engine_for, model_artifact, opened
from modelport.measure.timing import timed_run

MODES = ("static", "dymbatch", "dymhw", "dymdims", "dymshape")
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """An input or output. A free axis is -1 in ``shape``, and such a tensor's ``size`` and ``realsize`` are 0.

    ``size`` and ``realsize`` count bytes; ``datatype`` is numpy's name of the dtype.
    """

    name: str
    datatype: str
    format: str
    shape: list[int]
    size: int
    realsize: int


@dataclass(slots=True)
class Summary:
    """``exec_time_list``: start and end of each execution, in ms, in order."""

    exec_time_list: list[tuple[float, float]]


class MemorySummary:
    """Times of the copies to and from the device, in ms; none on engines that compute in the host's memory."""

    h2d_time_list: list[float] = []  # noqa: RUF012 - of the whole process, as there
    d2h_time_list: list[float] = []  # noqa: RUF012

    @classmethod
    def get_h2d_time_list(cls) -> list[float]:
        """Return the times of the inputs' copies since the last reset."""
        return list(cls.h2d_time_list)

    @classmethod
    def get_d2h_time_list(cls) -> list[float]:
        """Return the times of the outputs' copies since the last reset."""
        return list(cls.d2h_time_list)

    # As they were called before February 2024.
    get_H2D_time_list = get_h2d_time_list
    get_D2H_time_list = get_d2h_time_list

    @classmethod
    def reset(cls) -> None:
        """Forget them."""
        cls.h2d_time_list.clear()
        cls.d2h_time_list.clear()


class InferSession:
    """A model ready to run. Raises UsageError or EngineError where it cannot be loaded."""

    def __init__(
        self,
        device_id: int,
        model_path: str,
        acl_json_path: str | None = None,
        debug: bool = False,
        loop: int = 1,
        engine: str | None = None,
    ) -> None:
        """Load a model on the fastest usable engine that takes its file, or on ``engine``."""
        if acl_json_path is not None:
            raise UsageError("acl_json_path configures the device's own runtime", "leave it out")
        self.device_id, self.model_path, self.debug = device_id, model_path, debug
        model = model_artifact(Path(model_path))
        chosen = engine_for(model, engine)
        if not chosen.has_devices and device_id != 0:
            raise UsageError(f"device_id {device_id}: the engine '{chosen.name}' has device 0 alone", "give 0")
        self._stack = ExitStack()
        launch = Launch(in_flight=1, device=device_id)
        runner = self._stack.enter_context(opened(chosen, model, Build(precision=None), launch))
        self._runner: Runner | None = runner
        self._given: dict[str, Shape] = {}
        self._times: list[tuple[float, float]] = []
        self.set_loop_count(loop)

    def _ready(self) -> Runner:
        if self._runner is None:
            raise EngineError(f"{self.model_path}: the session's resources were freed", "make a new InferSession")
        return self._runner

    def get_inputs(self) -> list[TensorDescription]:
        """Return the model's inputs, in order."""
        return [_described(spec) for spec in self._ready().signature.inputs]

    def get_outputs(self) -> list[TensorDescription]:
        """Return the model's outputs, in order."""
        return [_described(spec) for spec in self._ready().signature.outputs]

    def set_loop_count(self, loop: int) -> None:
        """Have each ``infer`` execute the model ``loop`` times; the last answers are returned."""
        if not isinstance(loop, int) or loop < 1:
            raise UsageError(f"loop {loop!r}: no whole number of at least 1", "give 1")
        self.loop = loop

    def set_staticbatch(self) -> None:
        """Take back what ``set_dynamic_…`` fixed."""
        self._given = {}

    def set_dynamic_batchsize(self, dym_batch: int | str) -> None:
        """Fix the free first axes. Raises UsageError where the first input's is not free."""
        first = self._ready().signature.inputs[0]
        if not first.shape or not isinstance(first.shape[0], str):
            raise UsageError(f"{self.model_path}: its batch is fixed, {first}", "leave out set_dynamic_batchsize")
        self._settle({spec.name: {0: int(dym_batch)} for spec in self._ready().signature.inputs})

    def set_dynamic_hw(self, w: int, h: int) -> None:
        """Fix axes 2 and 3, in this order, where both are free: as there, whatever the parameters are called."""
        both = [spec for spec in self._ready().signature.inputs if all(isinstance(a, str) for a in spec.shape[2:4])]
        both = [spec for spec in both if len(spec.shape) == 4]
        if not both:
            raise UsageError(f"{self.model_path}: no input's height and width are free", "leave out set_dynamic_hw")
        self._settle({spec.name: {2: int(w), 3: int(h)} for spec in both})

    def set_dynamic_shape(self, dym_shape: str) -> None:
        """Fix whole shapes, written ``NAME:1,3,224,224;NAME2:…``."""
        axes = {}
        for part in dym_shape.split(";"):
            name, _, sizes = part.rpartition(":")
            try:
                axes[name] = dict(enumerate(int(size) for size in sizes.split(",")))
            except ValueError as error:
                raise UsageError(f"'{part}' is no shape", "write NAME:1,3,224,224") from error
        for spec in self._ready().signature.inputs:
            if spec.name in axes and len(axes[spec.name]) != len(spec.shape):
                raise UsageError(f"'{dym_shape}': {spec} has {len(spec.shape)} axes", "give each a size")
        self._settle(axes)

    set_dynamic_dims = set_dynamic_shape

    def _settle(self, axes: dict[str, dict[int, int]]) -> None:
        """Demand sizes of axes. Raises UsageError where an axis is not free and of another size."""
        specs = {spec.name: spec for spec in self._ready().signature.inputs}
        given = {}
        for name, sizes in axes.items():
            if name not in specs:
                raise UsageError(f"the model has no input '{name}'", unknown("inputs", name, specs))
            have = specs[name].shape
            whole = [sizes.get(index, axis) if isinstance(axis, str) else axis for index, axis in enumerate(have)]
            if max(sizes, default=0) >= len(have) or (
                len(sizes) == len(have) and whole != [sizes[index] for index in range(len(have))]
            ):
                raise UsageError(f"{specs[name]} cannot have the sizes {sizes}", "change free axes alone")
            given[name] = tuple(axis if isinstance(axis, int) else -1 for axis in whole)
        self._given = given

    def set_custom_outsize(self, custom_sizes: int | Sequence[int]) -> None:
        """Do nothing: the engines find the memory for their outputs themselves."""

    def infer(
        self,
        feeds: Sequence[Any],
        mode: str = "static",
        custom_sizes: int | Sequence[int] = 100000,
        out_array: bool = True,
    ) -> list[Array]:
        """Run the model on arrays (numpy's or PyTorch's), one per input in order, and return the outputs in order.

        ``custom_sizes`` makes no difference. Raises SignatureError for arrays of another number, dtype or shape.
        """
        if mode not in MODES:
            raise UsageError(f"no mode named '{mode}'", unknown("modes", str(mode), MODES))
        self.set_staticbatch()  # as there, each call takes its sizes from its own arrays
        return self.run(feeds, out_array)

    def run(self, feeds: Sequence[Any], out_array: bool = True) -> list[Array]:
        """Run as ``infer`` does, in the sizes that ``set_dynamic_…`` gave. The outputs are arrays in either case."""
        runner = self._ready()
        specs = runner.signature.inputs
        if len(feeds) != len(specs):
            wanted = "; ".join(map(str, specs))
            raise SignatureError(f"{len(feeds)} arrays for {len(specs)} inputs", f"give one for each of: {wanted}")
        inputs = {}
        for spec, feed in zip(specs, feeds, strict=True):
            array = inputs[spec.name] = _array(feed)
            spec.check(array)
            want = self._given.get(spec.name, array.shape)
            if any(size not in (-1, have) for size, have in zip(want, array.shape, strict=True)):
                raise SignatureError(
                    f"'{spec.name}': has the shape {array.shape}, {want} was set", "set the shape of the array"
                )
        for _ in range(self.loop):
            outputs = self._execute(runner, inputs)
        return [outputs[spec.name] for spec in runner.signature.outputs]

    def _execute(self, runner: Runner, inputs: dict[str, Array]) -> dict[str, Array]:
        ran = timed_run(runner, inputs)
        self._times.append(ran.computing_ms())
        if ran.device is not None:
            MemorySummary.h2d_time_list.append(ran.device.h2d_ms)
            MemorySummary.d2h_time_list.append(ran.device.d2h_ms)
        return ran.outputs

    def infer_pipeline(
        self, feeds_list: Sequence[Sequence[Any]], mode: str = "static", custom_sizes: int | Sequence[int] = 100000
    ) -> list[list[Array]]:
        """Run ``infer`` for each of several feeds, one after the other, and return a list of outputs for each."""
        return [self.infer(feeds, mode, custom_sizes) for feeds in feeds_list]

    def summary(self) -> Summary:
        """Return the times of the executions since the last reset."""
        return Summary(list(self._times))

    sumary = summary

    def reset_summaryinfo(self) -> None:
        """Forget the times so far."""
        self._times.clear()

    reset_sumaryinfo = reset_summaryinfo

    def free_resource(self) -> None:
        """Let go of the model; the session cannot run any more. A second call does nothing."""
        self._runner = None
        self._stack.close()

    @staticmethod
    def finalize() -> None:
        """Do nothing: an older name for the end of the whole process's use of its device."""


def _described(spec: TensorSpec) -> TensorDescription:
    shape = [axis if isinstance(axis, int) else -1 for axis in spec.shape]
    try:
        item = np.dtype(spec.dtype).itemsize
    except TypeError:
        item = 0  # a type that numpy does not have
    size = 0 if min(shape, default=1) < 0 else math.prod(shape) * item
    return TensorDescription(spec.name, spec.dtype, "NCHW" if len(shape) == 4 else "ND", shape, size, size)


def _array(feed: Any) -> Array:
    """Return numpy's view of an array, in order; nothing is cast."""
    if isinstance(feed, np.ndarray | np.generic):
        # ascontiguousarray would give a scalar an axis.
        return np.asarray(feed, order="C")
    if callable(getattr(feed, "detach", None)) and callable(getattr(feed, "numpy", None)):
        try:
            return np.asarray(feed.detach().cpu().numpy(), order="C")
        except (TypeError, RuntimeError) as error:  # bfloat16, which numpy does not have
            raise SignatureError(f"a tensor of {feed.dtype} cannot be fed", "cast it to the input's dtype") from error
    raise SignatureError(f"a {type(feed).__name__} is no array", "give numpy arrays or PyTorch tensors")
