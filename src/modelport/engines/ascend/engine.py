"""Ascend devices: models compiled by ATC, run through ais_bench's InferSession."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import DataError, EngineError
from modelport.core.files import read_json
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.ascend.atc import FILE_NAMES, SUFFIX, AscendBuild, artifact_path, own_of, plan_call
from modelport.engines.ascend.atc_run import run_call
from modelport.engines.ascend.nms import ON_DEVICE
from modelport.engines.ascend.npu_smi import soc_version
from modelport.engines.ascend.plan_files import keep_dtype_text, op_precision_mode_text
from modelport.engines.ascend.recipe_table import Ascend as AscendTable
from modelport.engines.base import Availability, Build, BuildPlan, DeviceTimes, Engine, Launch
from modelport.engines.time_limit import within_limit
from modelport.model.graph.precision_plan import ResolvedPlan

INSTALL = (
    "pip install the wheels aclruntime and ais_bench, and source /usr/local/Ascend/ascend-toolkit/set_env.sh "
    "(CANN and the device's driver must be there)"
)
# Methods by their names since February 2024 and before.
FREE = ("free_resource", "finalize")
SUMMARY = ("summary", "sumary")
TO_DEVICE = ("get_h2d_time_list", "get_H2D_time_list")
FROM_DEVICE = ("get_d2h_time_list", "get_D2H_time_list")
DTYPES = {"float": "float32", "double": "float64", "half": "float16"}


class AscendEngine(Engine):
    """Compiles ONNX files with ATC, which needs no device, and runs the .om files that it writes, which needs one."""

    name = "ascend"
    consumes = frozenset({"om"})
    suffixes: Mapping[str, str] = {SUFFIX: "om"}
    compiles_to = SUFFIX
    compiles_here = False
    build_options = frozenset({"soc", "device", "input_type", "plan"})
    has_devices = True
    reshapes = False
    endings = (ON_DEVICE,)
    recipe_table = AscendTable

    def available(self) -> Availability:
        """Say whether ais_bench's InferSession can be imported."""
        try:
            _interface()
        # A library of CANN that is missing or does not fit can raise anything.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return Availability(False, reason=reason, install=INSTALL)
        refused = (("int8", "ATC takes it from a graph that is quantised, which modelport does not write"),)
        return Availability(True, _version(), ("NPU",), ("fp16", "fp32", "bf16"), refused)

    def plan(self, model: Artifact, build: Build, out: Path) -> BuildPlan:
        """Return the call of ATC that ``compile`` makes, without making it."""
        call = plan_call(model.path, build, out)
        files = tuple((option, path, text) for option, (path, text) in call.files.items())
        words = tuple(call.words(model.path, artifact_path(out)))
        return BuildPlan(call.precision, call.batch, words, files, call.notes, call.input_type)

    def plan_texts(self, plan: ResolvedPlan) -> Mapping[str, str]:
        """Return the files of ATC's options ``keep_dtype`` and ``op_precision_mode`` that the plan has lines for."""
        texts = {"keep_dtype": keep_dtype_text(plan), "op_precision_mode": op_precision_mode_text(plan)}
        return {FILE_NAMES[option]: text for option, text in texts.items() if text}

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Run ATC. Raises EngineError where it is missing or fails."""
        return run_call(plan_call(model.path, build, out), model, out)

    def own_build(self, told: Mapping[str, Any]) -> AscendBuild:
        """Return what ATC alone is told."""
        return AscendBuild(**told)

    def cannot_open(self, build: Build, launch: Launch) -> str:
        """Say where the chip that the model is compiled for is not at hand."""
        own = own_of(build)
        soc = soc_version(own.soc, own.device)
        try:
            at_hand = self.available().usable and soc_version(None, own.device) == soc
        except EngineError:
            return f"no device {soc} is found"
        return "" if at_hand else f"this needs a device {soc} and ais_bench"

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[_Runner]:
        """Load an .om file on a device. Raises EngineError where the device or the library refuses it."""
        self.usable()
        interface = _interface()
        try:
            session = interface.InferSession(launch.device, str(model.path))
        except Exception as error:
            raise _failed(f"{model.path} cannot be loaded on device {launch.device}", error) from error
        try:
            yield _Runner(session, interface.MemorySummary, model, build)
        finally:
            free = _spelled(session, FREE)
            if free is not None:
                free()


class _Runner:
    # A session holds one set of device buffers, so one run at a time.
    concurrency = 1

    def __init__(self, session: Any, memory: Any, model: Artifact, build: Build) -> None:
        self._session, self._memory, self._lock = session, memory, threading.Lock()
        notes: list[str] = []
        self.precision = _precision(model, build.precision, notes)
        inputs, outputs = (None, None) if build.recipe is None else (build.signature.inputs, build.signature.outputs)
        self.signature = Signature(
            _named([_spec(one) for one in session.get_inputs()], inputs, "input", notes),
            _named([_spec(one) for one in session.get_outputs()], outputs, "output", notes),
        )
        self.notes = tuple(notes)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run once and block; the caller owns the arrays."""
        self.signature.check_inputs(inputs)
        with self._lock:
            return self._infer(inputs)

    def run_timed(self, inputs: Tensors) -> tuple[dict[str, Array], DeviceTimes]:
        """Run, and return the device's clocks; a copy's time is that of all tensors of the run together."""
        self.signature.check_inputs(inputs)
        with self._lock:
            self._memory.reset()
            outputs = self._infer(inputs)
            copies = [list(_spelled(self._memory, names)()) for names in (TO_DEVICE, FROM_DEVICE)]
            executions = _spelled(self._session, SUMMARY)().exec_time_list
        if not all(copies) or not executions:
            raise EngineError("aclruntime tells no times of this run", "install a current aclruntime and ais_bench")
        start, end = executions[-1]
        return outputs, DeviceTimes(float(sum(copies[0])), float(end - start), float(sum(copies[1])))

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        feeds = [np.ascontiguousarray(inputs[spec.name]) for spec in self.signature.inputs]
        try:
            with within_limit(lambda: None):  # the device's library stops no run
                arrays = self._session.infer(feeds, "static")
        except EngineError:
            raise
        except Exception as error:
            raise _failed("the device failed", error) from error
        if len(arrays) != len(self.signature.outputs):
            raise EngineError(
                f"the device returned {len(arrays)} outputs, the model declares {len(self.signature.outputs)}",
                "compile the model again",
            )
        return {spec.name: np.array(array) for spec, array in zip(self.signature.outputs, arrays, strict=True)}


def _interface() -> Any:
    from ais_bench.infer import interface

    session, memory = interface.InferSession, interface.MemorySummary
    needed = ((session, SUMMARY), (memory, TO_DEVICE), (memory, FROM_DEVICE), (memory, ("reset",)))
    for owner, names in needed:
        if _spelled(owner, names) is None:
            raise ImportError(
                f"ais_bench {_version()} has no {owner.__name__}.{' or '.join(names)}; "
                "wheels of ais_bench and aclruntime from February 2024 or later are needed"
            )
    return interface


def _spelled(owner: Any, names: Sequence[str]) -> Any:
    """Return the method under the first of its names that is there, None without any."""
    return next((getattr(owner, name) for name in names if hasattr(owner, name)), None)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ais_bench")
    except PackageNotFoundError:
        return "unknown"


def _failed(what: str, error: Exception) -> EngineError:
    """Return the error for what the library raised; its texts are few words around a number of ACL."""
    said = " ".join(str(error).split()) or type(error).__name__
    fix = "see `npu-smi info`: is the device there, free and healthy, and of the chip that the model is for?"
    return EngineError(f"{what}: {said}", fix)


def _precision(model: Artifact, asked: str | None, notes: list[str]) -> str:
    """Return the precision that the file's record tells; without one, what was asked for, and a note that says so."""
    record = model.path.with_name(model.path.name + ".json")
    try:
        told = read_json(record)
    except DataError:
        told = None
    if isinstance(told, dict) and told.get("sha256") == model.sha256 and isinstance(told.get("precision"), str):
        return str(told["precision"])
    precision = asked or "as compiled"
    notes.append(
        f"{model.path} does not tell its precision, and {record.name} is no record of it: '{precision}' is unproved"
    )
    return precision


def _spec(described: Any) -> TensorSpec:
    kind = str(getattr(described.datatype, "name", described.datatype)).rpartition(".")[2].lower()
    return TensorSpec(str(described.name), DTYPES.get(kind, kind), tuple(int(axis) for axis in described.shape))


def _named(
    have: list[TensorSpec], want: Sequence[TensorSpec] | None, kind: str, notes: list[str]
) -> tuple[TensorSpec, ...]:
    """Return a model's tensors under the recipe's names.

    ATC writes ``NODE:INDEX:NAME`` for an output. Where no name is to be found in it, tensors whose dtypes and shapes
    are the recipe's, in order, are taken in order, and a note says so; else they keep ATC's names.
    """
    if want is None:
        return tuple(have)
    names = {spec.name for spec in want}
    told = [[name for name in (spec.name, *spec.name.split(":")) if name in names][:1] for spec in have]
    if all(told) and len({name for (name,) in told}) == len(have):
        return tuple(TensorSpec(name, spec.dtype, spec.shape) for (name,), spec in zip(told, have, strict=True))
    if len(have) == len(want) and all(
        (spec.dtype, spec.shape) == (other.dtype, other.shape) for spec, other in zip(have, want, strict=True)
    ):
        pairs = ", ".join(f"{spec.name} is {other.name}" for spec, other in zip(have, want, strict=True))
        notes.append(f"the {kind}s are named by their order, dtypes and shapes being the recipe's: {pairs}")
        return tuple(want)
    return tuple(have)
