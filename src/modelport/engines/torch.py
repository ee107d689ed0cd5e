"""PyTorch on the CPU: the reference. It runs the checkpoint itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.text import plain
from modelport.core.values import Array, Signature, Tensors, shape_fits
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.engines.time_limit import within_limit
from modelport.model.architectures.torchvision_ops import missing_operator
from modelport.model.source import load_source
from modelport.tasks.table import task_of

_HOLD_AGAINST = "hold [tensors] of the recipe against what the network takes"
# Not MemoryError, which says something else.
_RAISED_BY_NETWORKS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)


class TorchEngine(Engine):
    """Runs the source model. bf16 is PyTorch's autocast: convolutions and products in bfloat16, sums in float32."""

    name = "torch"
    consumes = frozenset({"checkpoint", "program"})
    packages = ("torch",)

    def available(self) -> Availability:
        """Say whether torch can be imported."""
        install = "pip install 'modelport[torch]' (with the constraints file, which names the CPU build)"
        try:
            import torch
        except ImportError as error:
            return Availability(False, reason=str(error), install=install)
        precisions = ("fp32", "bf16") if machine.has_bf16() else ("fp32",)
        refused: tuple[tuple[str, str], ...] = (("fp16", "PyTorch on the CPU has no fast float16 convolution"),)
        if not machine.has_bf16():
            refused += (("bf16", machine.NO_BF16),)
        return Availability(True, torch.__version__, ("CPU",), precisions, refused)

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Refuse: the reference runs the checkpoint as it is."""
        raise EngineError(
            "the engine 'torch' runs the checkpoint itself; there is nothing to compile",
            "choose openvino or onnxruntime",
        )

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        """Load the checkpoint strictly. Raises CheckpointError where it does not fit the recipe."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(launch.threads or machine.cores())
        try:
            yield TorchRunner(load_source(build.needed_recipe, model.path).module, build)
        finally:
            torch.set_num_threads(before)


def answers_of(module: Any, name: str, shape: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of each tensor that a network answers to zeros (float32) of ``shape``.

    ``name`` stands for it in errors. Raises EngineError where it fails on them.
    """
    import torch

    zeros = [torch.zeros(*shape)]
    failed = _errors_of(name, zeros, "give its input by --shape input:1,3,H,W")
    with within_limit(lambda: None), failed, torch.inference_mode():
        outputs = _flat(module(*zeros))
    return [(str(out.dtype).removeprefix("torch."), tuple(out.shape)) for out in outputs]


class TorchRunner:
    """A module as a runner, for whoever has it in memory already."""

    # One run uses every core by itself.
    concurrency = 1

    def __init__(self, module: Any, build: Build) -> None:
        self._module = module
        recipe = build.needed_recipe
        self._name = f"{recipe.name}: the network{'' if recipe.model is None else ' ' + recipe.model.architecture}"
        self._task = task_of(recipe)
        self._bf16 = build.precision == "bf16"
        self.signature: Signature = build.signature
        self.precision = self._executed_precision()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run the module; outputs come back as float32 (or integers) in arrays of the caller's own."""
        import torch

        self.signature.check_inputs(inputs)
        tensors = [torch.from_numpy(inputs[spec.name]) for spec in self.signature.inputs]
        # PyTorch stops no run by itself.
        with (
            within_limit(lambda: None),
            _errors_of(self._name, tensors, _HOLD_AGAINST),
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._bf16),
        ):
            outputs = _flat(self._module(*tensors))
        answers = self._task.outputs_of([(out.float() if out.is_floating_point() else out).numpy() for out in outputs])
        self._check_outputs(answers, len(outputs))
        return answers

    def _check_outputs(self, answers: Tensors, given: int) -> None:
        """Raise EngineError unless the outputs are the recipe's."""
        for spec in self.signature.outputs:
            got = answers.get(spec.name)
            if got is None:
                raise EngineError(
                    f"{self._name} gives {given} outputs, the recipe names {len(self.signature.outputs)}",
                    "name in [tensors] what the network returns, in its order",
                )
            if not shape_fits(got.shape, spec.shape):
                raise EngineError(
                    f"{self._name} gives {got.dtype} {got.shape} where the recipe wants {spec}",
                    "mend tensors.outputs (and dataset.classes), or the arguments in [model]",
                )

    def _executed_precision(self) -> str:
        """Run one row of zeros and see in which dtypes convolutions and linear layers answer."""
        import numpy as np
        import torch
        from torch import nn

        seen: set[torch.dtype] = set()
        heavy = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
        handles = [
            part.register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
            for part in self._module.modules()
            if isinstance(part, heavy)
        ]
        try:
            sizes = ([1 if isinstance(axis, str) else axis for axis in spec.shape] for spec in self.signature.inputs)
            specs = zip(self.signature.inputs, sizes, strict=True)
            self.run({spec.name: np.zeros(size, spec.dtype) for spec, size in specs})
        finally:
            for handle in handles:
                handle.remove()
        names = {{torch.float32: "fp32", torch.bfloat16: "bf16"}.get(dtype, str(dtype)) for dtype in seen}
        return names.pop() if len(names) == 1 else "mixed: " + ", ".join(sorted(names)) if names else "fp32"


@contextmanager
def _errors_of(name: str, tensors: Sequence[Any], fix: str) -> Iterator[None]:
    """Turn what a network raises on ``tensors`` into one EngineError."""
    try:
        yield
    except _RAISED_BY_NETWORKS as error:
        if operator := missing_operator(error):
            raise EngineError(
                f"{name} calls {operator}, for which there is no kernel here: the installed torchvision belongs to "
                "another build of PyTorch",
                "install both of one build, or give an ONNX file of the network: --source FILE.onnx",
            ) from error
        told = plain(f"{type(error).__name__}: {error}", 300)
        raise EngineError(f"{name} {_failed(tensors)}: {told}", fix) from error


def _failed(tensors: Sequence[Any]) -> str:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
    return f"failed on an input of shape {shapes}"


def _flat(answer: Any) -> list[Any]:
    """Return the tensors that a network answered, in order: one, several, or the values of a mapping.

    Raises EngineError for anything else.
    """
    import torch

    if isinstance(answer, torch.Tensor):
        return [answer]
    parts = list(answer.values()) if isinstance(answer, Mapping) else answer
    if not isinstance(parts, list | tuple):
        raise EngineError(f"the network returns a {type(answer).__name__}, no tensors", "return tensors from forward()")
    return [tensor for part in parts for tensor in _flat(part)]
