"""The model: which file, which engine, with which shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modelport.ais_bench.arguments import Arguments
from modelport.ais_bench.inputs import file_bytes, list_files
from modelport.ais_bench.log import Log
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, UsageError, unknown
from modelport.core.values import TensorSpec, shape_fits
from modelport.data.files.tensor_form import hold_files, lost_files
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import engine_for, kinds, model_artifact, opened, with_devices
from modelport.stages.compiled_from import stale_notes


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model file and the engine that runs it."""

    model: Artifact
    engine: Engine
    version: str  # of the engine


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to run. ``specs`` are its inputs, whole unless each file brings its shape; no lists: pure."""

    chosen: Chosen
    runner: Runner
    specs: tuple[TensorSpec, ...]
    lists: tuple[tuple[str, ...], ...]

    @property
    def batch(self) -> int:
        """Rows of the first input; 1 where it has no rows."""
        first = self.specs[0].shape[0] if self.specs[0].shape else 1
        return first if isinstance(first, int) else 1


def choose(arguments: Arguments, log: Log) -> Chosen:
    """Find the model file and the engine, and refuse what it cannot do.

    Raises UsageError or EngineError.
    """
    path = _find(arguments.model, log)
    model = model_artifact(path)
    engine = engine_for(model, arguments.engine)
    chosen, name = Chosen(model, engine, engine.available().version), engine.name
    log.info(f"engine '{name}' {chosen.version}")
    for text in stale_notes(model):
        log.warn(text)
    for flag, wish in arguments.refused:
        raise UsageError(
            f"--{flag}: {wish} is nothing that the engine '{name}' does",
            f"leave it out; on a device ais_bench itself does it, beside the engine {_device_engines()}",
        )
    if not engine.has_devices and set(arguments.devices) != {0}:
        raise UsageError(
            f"--device {','.join(map(str, arguments.devices))}: the engine '{name}' has device 0 alone",
            f"leave it out; the engine {_device_engines()} chooses among devices, with a file of its own",
        )
    shaped = arguments.dym_batch or arguments.dym_hw or arguments.shapes or arguments.shape_range
    if engine.has_devices and (shaped or arguments.auto_shapes):
        raise UsageError(
            f"the engine '{name}' runs models of fixed shapes", "compile the model for the shape that is wanted"
        )
    if arguments.shape_range and len(arguments.devices) > 1:
        raise UsageError("--dymShape_range runs on one device", "give one number to --device")
    if arguments.auto_shapes and not arguments.inputs:
        raise UsageError("--auto_set_dymshape_mode takes shapes from files, and there are none", "give --input")
    _tell_what_makes_no_difference(arguments, chosen, log)
    return chosen


def _device_engines() -> str:
    return " or ".join(f"'{name}'" for name in with_devices())


def _find(path: Path, log: Log) -> Path:
    """Return the model file; a name without its suffix, as the guides give it, is completed."""
    if not path.exists():
        for suffix in kinds():
            longer = path.with_name(path.name + suffix)
            if longer.is_file():
                log.note(f"{path} does not exist: {longer} taken")
                return longer
        raise UsageError(f"{path}: no such model file", "check the path")
    return path


def _tell_what_makes_no_difference(arguments: Arguments, chosen: Chosen, log: Log) -> None:
    name = chosen.engine.name
    if arguments.run_mode != "array":
        log.note(f"--run_mode {arguments.run_mode} makes no difference: batches are read, run and written one by one")
    if arguments.output_size is not None:
        log.note(f"--outputSize makes no difference: the engine '{name}' finds the memory for its outputs itself")
    if arguments.divide_input and len(arguments.devices) == 1:
        log.note("--divide_input makes no difference with one device")
    if not chosen.engine.has_devices:
        log.note(f"no copies: the engine '{name}' computes in the host's memory; H2D_latency and D2H_latency are zero")


@contextmanager
def loaded(chosen: Chosen, arguments: Arguments, part: int, log: Log) -> Iterator[Loaded]:
    """Open the model for device number ``part`` of those asked for, with every free axis settled.

    Raises UsageError, DataError or EngineError.
    """
    build = Build(precision=None, batch=arguments.dym_batch or arguments.batchsize)
    launch = Launch(in_flight=1 if arguments.threads == 1 else None, device=arguments.devices[part])
    with ExitStack() as stack:
        runner = stack.enter_context(opened(chosen.engine, chosen.model, build, launch))
        specs = tuple(map(_with_free_axes, runner.signature.inputs))
        if not specs:
            raise EngineError(f"{chosen.model.path}: the model has no inputs", "there is nothing to feed it with")
        _check_dtypes(chosen, (*specs, *runner.signature.outputs))
        share = (part, len(arguments.devices)) if arguments.divide_input else (0, 1)
        lists = list_files(arguments.inputs, len(specs), share, log) if arguments.inputs else []
        if lists and not arguments.npy_as_bytes:
            hold_files(lists, specs)
        for files in lists if lists and Path(arguments.inputs[0]).is_dir() else ():
            if text := lost_files(files):
                log.warn(text)
        if not arguments.auto_shapes:
            whole = settle(specs, arguments, lists, log)
            if whole != specs:
                # Engines are faster with shapes that they know.
                stack.close()
                free = [(new.name, _whole(new)) for old, new in zip(specs, whole, strict=True) if old != new]
                build = replace(build, batch=int(whole[0].shape[0]), shapes=tuple(free))
                runner = stack.enter_context(opened(chosen.engine, chosen.model, build, launch))
            specs = whole
        for kind, tensors in (("input", specs), ("output", runner.signature.outputs)):
            for index, spec in enumerate(tensors):
                log.debug(f"{kind} #{index} {spec}")
        for text in getattr(runner, "notes", ()):
            log.note(text)
        for _ in range(arguments.threads):
            log.info(f"load model {chosen.model.path} success")
            log.info("create model description success")
        yield Loaded(chosen, runner, specs, tuple(map(tuple, lists)))


def settle(
    specs: tuple[TensorSpec, ...], arguments: Arguments, lists: Sequence[Sequence[str]], log: Log
) -> tuple[TensorSpec, ...]:
    """Return the inputs with every free axis fixed by the flags; ``lists`` are files, whose first tells a free batch.

    Raises UsageError where a flag does not fit the model, or an axis stays free.
    """
    given = dict(arguments.shapes)
    for name in given:
        if name not in {spec.name for spec in specs}:
            raise UsageError(f"the model has no input '{name}'", unknown("inputs", name, [spec.name for spec in specs]))
    settled = [_given_shape(spec, given.get(spec.name)) for spec in specs]
    if arguments.dym_hw is not None:
        settled = [_with_height_width(spec, arguments.dym_hw) for spec in settled]
    batch = arguments.dym_batch or arguments.batchsize
    first = settled[0]
    if batch is None and first.shape and isinstance(first.shape[0], str):
        _check_settled(first.with_batch(1))
        batch = _rows_of_first(lists, first.with_batch(1))
        log.note(f"the model's batch is free: {batch} taken; --batchsize would choose another")
    settled = [spec if batch is None else spec.with_batch(batch) for spec in settled]
    for spec in settled:
        _check_settled(spec)
        if arguments.dym_batch and spec.shape and spec.shape[0] != arguments.dym_batch:
            raise UsageError(f"--dymBatch {arguments.dym_batch}: the model's batch is fixed, {spec}", "leave it out")
    have = settled[0].shape[0] if settled[0].shape else 1
    if arguments.batchsize not in (None, have):
        unit = "batches/s" if arguments.batchsize == 1 else f"that of {arguments.batchsize} rows a run"
        log.warn(
            f"--batchsize {arguments.batchsize}: the model runs {have} rows; the throughput below is {unit}, not "
            "samples/s: leave --batchsize out"
        )
    return tuple(settled)


def _given_shape(spec: TensorSpec, shape: tuple[int, ...] | None) -> TensorSpec:
    if shape is None:
        return spec
    if not shape_fits(shape, spec.shape):
        raise UsageError(
            f"'{spec.name}' cannot have the shape {shape}: the model wants {spec}", "change free axes alone"
        )
    return replace(spec, shape=shape)


def _with_height_width(spec: TensorSpec, sizes: tuple[int, int]) -> TensorSpec:
    free = [index for index, axis in enumerate(spec.shape) if isinstance(axis, str) and index > 0]
    if len(free) != 2:
        raise UsageError(f"--dymHW: the height and width of {spec} are not free", "leave it out, or give --dymShape")
    shape = list(spec.shape)
    shape[free[0]], shape[free[1]] = sizes
    return replace(spec, shape=tuple(shape))


def _check_settled(spec: TensorSpec) -> None:
    if any(isinstance(axis, str) for axis in spec.shape):
        example = ",".join(str(axis) if isinstance(axis, int) else "1" for axis in spec.shape)
        raise UsageError(
            f"the model's input {spec} has free axes", f"fix them, as in --dymShape '{spec.name}:{example}'"
        )


def _with_free_axes(spec: TensorSpec) -> TensorSpec:
    """Return the spec with a string for every axis that a device's library gives as -1."""
    return replace(spec, shape=tuple("?" if isinstance(axis, int) and axis < 0 else axis for axis in spec.shape))


def _whole(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(axis) for axis in spec.shape)


def _rows_of_first(lists: Sequence[Sequence[str]], one: TensorSpec) -> int:
    """Return how many rows, of which ``one`` is one, the first file holds; 1 where it holds no whole number of them."""
    row = int(np.prod(_whole(one))) * np.dtype(one.dtype).itemsize
    held, rest = divmod(file_bytes(lists[0][0]), row) if lists and row else (1, 0)
    return held if held and not rest else 1


def _check_dtypes(chosen: Chosen, specs: tuple[TensorSpec, ...]) -> None:
    for spec in specs:
        try:
            fits = np.dtype(spec.dtype).kind in "biuf"
        except TypeError:
            fits = False
        if not fits:
            raise EngineError(
                f"{chosen.model.path}: {spec} is of a type that no .bin or .npy file holds", "export it with another"
            )
