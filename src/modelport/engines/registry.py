"""The engines by name, and the border in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

from pydantic import BaseModel

from modelport.core.artifacts import Artifact, named_as_given
from modelport.core.errors import EngineError, UsageError, unknown
from modelport.core.values import TensorSpec, shape_fits
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.engines.checked import checked
from modelport.engines.fitted import fitted
from modelport.model.graph.file import onnx_side_files
from modelport.model.graph.tail import IN_GRAPH, ON_HOST, Ending

# The fastest first: the default engine is the first usable one.
ENGINES = {
    "openvino": "modelport.engines.openvino.engine:OpenVinoEngine",
    "onnxruntime": "modelport.engines.onnxruntime.engine:OnnxRuntimeEngine",
    "torch": "modelport.engines.torch:TorchEngine",
    "ascend": "modelport.engines.ascend.engine:AscendEngine",
    "null": "modelport.engines.null:NullEngine",
}
_OTHER_RECIPE = "give the recipe of this model"
AS_IT_THINKS = Launch()
PRECISIONS = ("fp32", "bf16", "fp16", "int8")


def get_engine(name: str) -> Engine:
    """Return the engine of that name, usable or not. Raises UsageError for an unknown name."""
    if name not in ENGINES:
        raise UsageError(f"no engine named '{name}'", unknown("engines", name, ENGINES))
    engine: Engine = resolve_name(ENGINES[name])()
    return engine


def availabilities() -> dict[str, Availability]:
    """Return what every engine says of itself, the fastest first."""
    return {name: get_engine(name).available() for name in ENGINES}


def defaults() -> list[Engine]:
    """Return the engines that are chosen where nobody names one, the fastest first, usable or not."""
    return [engine for engine in map(get_engine, ENGINES) if engine.by_default]


def runner_of_architecture(name: str) -> Engine | None:
    """Return the engine that runs a network by itself, None for PyTorch's."""
    return next((engine for engine in map(get_engine, ENGINES) if name in engine.architectures), None)


def choose_engine(name: str | None, precision: str) -> Engine:
    """Return the named engine, or the fastest usable one, once it is sure that it executes ``precision`` here.

    Raises UsageError for unknown names, EngineError for what is not usable here, with what to install.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"no precision named '{precision}'", unknown("precisions", precision, PRECISIONS))
    if name is None:
        # One after the other: to ask PyTorch is to load it.
        for engine in defaults():
            here = engine.available()
            if here.usable and precision in here.precisions:
                return engine
        raise EngineError(f"no engine here executes {precision}", "see `modelport doctor`")
    engine = get_engine(name)
    here = engine.usable()
    if precision not in here.precisions:
        why = dict(here.refused).get(precision, "it does not execute that precision on this machine")
        raise EngineError(f"'{name}' refuses {precision}: {why}", f"choose one of: {', '.join(here.precisions)}")
    return engine


def own_precision(name: str | None) -> str:
    """Return what an engine runs in where nobody asks for a precision: the first, the safest, that it tells."""
    told = get_engine(name).available().precisions if name is not None else ()
    return told[0] if told else "fp32"


def engine_for(model: Artifact, name: str | None) -> Engine:
    """Return the named engine, or the fastest usable one that runs this kind of file.

    Raises UsageError for an unknown name, EngineError where none is usable here, with what to install.
    """
    if name is not None:
        engine = get_engine(name)
        engine.usable()
        return engine
    able = [engine for engine in defaults() if model.kind in engine.consumes]
    known = [(engine, engine.available()) for engine in able]
    for engine, here in known:
        if here.usable:
            return engine
    raise EngineError(
        f"{model.path}: no engine here runs {model.kind} files; "
        + "; ".join(f"'{engine.name}' is not usable: {here.reason}" for engine, here in known),
        "; ".join(here.install for _, here in known) or "see `modelport doctor`",
    )


@contextmanager
def opened(engine: Engine, model: Artifact, build: Build, launch: Launch = AS_IT_THINKS) -> Iterator[Runner]:
    """Open a model and see that it has the recipe's signature and really runs in the precision asked for.

    Raises EngineError otherwise: a precision never changes silently. Without a recipe the signature is the model's
    own; without a precision it runs in what the engine makes of it, and the runner says what that was.
    """
    if model.kind not in engine.consumes:
        takes = ", ".join(sorted(engine.consumes))
        raise EngineError(
            f"{model.shown}: the engine '{engine.name}' runs {takes}, not {model.kind}", "choose another engine"
        )
    with named_as_given(model), engine.open(model, build, launch) as runner:
        runner = fitted(runner, build)
        if build.recipe is not None:
            have, want = runner.signature, build.signature
            _check_tensors(model, "inputs", have.inputs, want.inputs)
            _check_tensors(model, "outputs", have.outputs, want.outputs)
        if build.precision is not None and runner.precision != build.precision:
            raise EngineError(
                f"'{engine.name}' runs {model.path} in {runner.precision}, {build.precision} was asked for",
                f"ask for --precision {runner.precision}",
            )
        alone = replace(build, batch=1, shapes=())
        yield checked(runner, model.path, build.recipe is not None, lambda: engine.open(model, alone, launch))


def _check_tensors(model: Artifact, kind: str, have: tuple[TensorSpec, ...], need: tuple[TensorSpec, ...]) -> None:
    """Raise EngineError unless every tensor serves the recipe's; an axis that is free on either side fits."""
    if len(have) != len(need):
        told, wanted = ("; ".join(map(str, specs)) or "none" for specs in (have, need))
        raise EngineError(f"{model.path}: its {kind} are {told}; the recipe wants {wanted}", _OTHER_RECIPE)
    for got, want in zip(have, need, strict=True):
        if (got.name, got.dtype) != (want.name, want.dtype) or not shape_fits(got.shape, want.shape):
            fix = _OTHER_RECIPE
            if got.name == want.name and got.shape[1:] == want.shape[1:] and isinstance(got.shape[0], int):
                fix += f", and --batch {got.shape[0]}, for which it was made"
            raise EngineError(f"{model.path}: has {got}, the recipe wants {want}", fix)


def kinds() -> dict[str, str]:
    """Return what a model file is, by its suffix: what `compile` writes and `--model` takes.

    Files for devices of their own come first: where a name lacks its suffix, they are meant.
    """
    devices: dict[str, str] = {}
    hosts: dict[str, str] = {}
    for engine in map(get_engine, ENGINES):
        (devices if engine.has_devices else hosts).update(engine.suffixes)
    return {**devices, ".onnx": "onnx", **hosts}


def with_devices() -> list[str]:
    """Return the names of the engines that have devices with numbers."""
    return [engine.name for engine in map(get_engine, ENGINES) if engine.has_devices]


def model_artifact(path: Path) -> Artifact:
    """Return the artifact that lies at ``path``, with the files of weights that are part of it.

    Raises UsageError where its suffix is unknown or it is missing, GraphError where a file of weights is missing, cut
    off, or not in its folder.
    """
    known = kinds()
    kind = known.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: not a model file that modelport knows", f"give one of: {', '.join(sorted(known))}")
    if not path.is_file():
        raise UsageError(f"{path}: no such file", "check the path")
    owner = next((engine for engine in map(get_engine, ENGINES) if kind in engine.suffixes.values()), None)
    parts = onnx_side_files(path) if owner is None else owner.parts(path)
    return Artifact.of(path, kind, (), tuple(Artifact.of(file, f"{kind}-weights") for file in parts))


def packages_of_engines() -> list[str]:
    """Return the distributions that the engines run on, those of the fastest engine last."""
    return [package for engine in map(get_engine, reversed(ENGINES)) for package in engine.packages]


def recipe_tables() -> dict[str, type[BaseModel]]:
    """Return the forms of the recipes' tables that one engine alone reads, by the engine's name."""
    return {engine.name: engine.recipe_table for engine in map(get_engine, ENGINES) if engine.recipe_table is not None}


def endings() -> dict[str, Ending]:
    """Return where a detector's doubles can be suppressed, by the word of ``export --nms``."""
    own = [ending for engine in map(get_engine, ENGINES) for ending in engine.endings]
    return {ending.word: ending for ending in (IN_GRAPH, ON_HOST, *own)}


def reference_engine() -> Engine:
    """Return what runs written graphs to check them: the reference runtime of ONNX, or another that is usable.

    Raises EngineError where none is, with what to install.
    """
    able = [engine for engine in map(get_engine, ENGINES) if "onnx" in engine.consumes and engine.by_default]
    able.sort(key=lambda engine: not engine.reference_of_onnx)
    known = [(engine, engine.available()) for engine in able]
    for engine, here in known:
        if here.usable:
            return engine
    raise EngineError(
        "no engine here can run the written graph, so it cannot be checked",
        " or ".join(here.install for _, here in known),
    )
