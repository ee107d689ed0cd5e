"""An engine that runs nothing: its answers are plain arithmetic in NumPy, the same on every machine and at once.

The road around an engine (reading, batches, runs in flight, scoring, files) is tried on it without a vendor's package,
and timed on it as beside an engine that takes no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from modelport.core.artifacts import Artifact, write_json
from modelport.core.errors import EngineError
from modelport.core.files import read_json
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Availability, Build, Engine, Launch, Runner

SCHEMA, SUFFIX = "modelport.null/1", ".null"
MAX_BYTES = 1024 * 1024
# Means that an input row is cut down to; a linear map of them is the answer.
FEATURES = 64
_OTHER_RECIPE = "give the recipe of this model"


class NullEngine(Engine):
    """Answers with a linear map of each row's coarse means, drawn from the model's sha256 or given as ``.npz``.

    A checkpoint that is an ``.npz`` file holds, by an output's name, the map as float64 (FEATURES + 1, values of a
    row), the constant last. Networks of the architecture ``null`` are such files.
    """

    name = "null"
    consumes = frozenset({"checkpoint", "onnx", "null"})
    suffixes: Mapping[str, str] = {SUFFIX: "null"}
    compiles_to = SUFFIX
    architectures = frozenset({"null"})
    by_default = False

    def available(self) -> Availability:
        """It always is."""
        return Availability(True, np.__version__, ("none",), ("fp32", "fp16", "bf16", "int8"))

    def identity(self, build: Build) -> tuple[object, ...]:
        """The file holds no more than the signature."""
        return (self.name, SCHEMA, str(build.signature))

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Write down what the model is called and takes. Raises EngineError for another suffix."""
        if out.suffix != SUFFIX:
            raise EngineError(
                f"{out}: the null engine writes {SUFFIX} files", f"give --out a name that ends in {SUFFIX}"
            )
        sides = {"inputs": build.signature.inputs, "outputs": build.signature.outputs}
        told = {side: [[spec.name, spec.dtype, list(spec.shape)] for spec in specs] for side, specs in sides.items()}
        write_json(out, {"schema": SCHEMA, "seed": model.identity} | told)
        return Artifact.of(out, "null", model.digests)

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        """Take a model for what it says that it is. Raises EngineError where nothing tells its tensors."""
        seed, signature = model.identity, None
        if model.kind == "null":
            seed, signature = _read(model.path)
        if build.recipe is not None:
            signature = build.signature
        if signature is None:
            raise EngineError(f"{model.path}: the null engine knows no tensors of it", "name the recipe of this model")
        yield _Runner(signature, _maps(model, seed, signature), build.precision or "fp32", launch.in_flight or 1)


class _Runner:
    def __init__(self, signature: Signature, maps: Mapping[str, Array], precision: str, in_flight: int) -> None:
        self.signature, self.precision, self.concurrency = signature, precision, in_flight
        self._maps = maps

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Return, for each output, the linear map of each row's means, in the output's dtype."""
        self.signature.check_inputs(inputs)
        means = _features(inputs[self.signature.inputs[0].name])
        outputs = {}
        for spec in self.signature.outputs:
            values = means @ self._maps[spec.name]
            if self.precision != "fp32":
                values = values.astype(np.float16)
            shape = [len(means), *(1 if isinstance(axis, str) else axis for axis in spec.shape[1:])]
            outputs[spec.name] = values.reshape(shape).astype(spec.dtype)
        return outputs


def _features(rows: Array) -> Array:
    """Return (N, FEATURES + 1) float64: the means of as many equal parts of each row, and a one."""
    flat = rows.reshape(len(rows), -1)
    edges = np.linspace(0, flat.shape[1], FEATURES, endpoint=False).astype(int)
    counts = np.diff([*edges, flat.shape[1]])
    sums = np.add.reduceat(flat, edges, axis=1, dtype=np.float64)
    return np.concatenate([sums / np.maximum(counts, 1), np.ones((len(rows), 1))], axis=1)


def _maps(model: Artifact, seed: str, signature: Signature) -> dict[str, Array]:
    """Return the map of each output. Raises EngineError for an ``.npz`` file that has not the outputs."""
    if model.path.suffix == ".npz":
        return _given(model.path, signature)
    rng = np.random.default_rng(int(seed[:16], 16))
    return {spec.name: rng.standard_normal(_map_shape(spec)) for spec in signature.outputs}


def _given(path: Path, signature: Signature) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:
            maps: dict[str, Array] = dict(np.load(stream, allow_pickle=False))
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise EngineError(f"{path}: {error}", "give an .npz file of float64 arrays") from error
    for spec in signature.outputs:
        found, wanted = maps.get(spec.name, np.zeros(0)), _map_shape(spec)
        if found.dtype != np.float64 or found.shape != wanted:
            told = f"{found.dtype} {found.shape}" if spec.name in maps else "nothing"
            raise EngineError(f"{path}: has {told} for '{spec.name}', not float64 {wanted}", _OTHER_RECIPE)
    return maps


def _map_shape(spec: TensorSpec) -> tuple[int, int]:
    return FEATURES + 1, int(np.prod([1 if isinstance(axis, str) else axis for axis in spec.shape[1:]]))


def _read(path: Path) -> tuple[str, Signature]:
    told = read_json(path, MAX_BYTES, EngineError)
    try:
        inputs, outputs = (
            tuple(TensorSpec(str(name), str(dtype), tuple(shape)) for name, dtype, shape in told[side])
            for side in ("inputs", "outputs")
        )
        return str(told["seed"]), Signature(inputs, outputs)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path}: no file of the null engine: {error!r}", "compile it again") from error
