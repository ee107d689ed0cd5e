"""A program of ``torch.export`` as a network: loaded from a ``.pt2`` file without any code of its author's."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import CheckpointError
from modelport.core.text import plain
from modelport.model.quiet import quiet_torch
from modelport.model.weights.checkpoint import plain_tensors, read_weights_file
from modelport.model.weights.program_file import SAVE_AGAIN, ProgramFacts, check_program

if TYPE_CHECKING:
    from torch import nn

SUFFIX = ".pt2"


def program_facts(path: Path) -> ProgramFacts:
    """Return what a program takes. Raises CheckpointError where the file is missing, damaged or not plain."""
    return check_program(read_weights_file(path), str(path))


def describe_program(path: Path) -> dict[str, Any]:
    """Return what a program takes and holds, for ``modelport show``. Raises CheckpointError as ``load_program``."""
    module, facts, sha256 = load_program(path)
    tensors = {
        name: f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        for name, value in module.state_dict().items()
    }
    sizes = ", ".join(map(str, facts.shape))
    return {"input": f"float32 ({sizes})", "sha256": sha256, "tensors": tensors}


def load_program(path: Path) -> tuple[nn.Module, ProgramFacts, str]:
    """Return the program as a module in float32 on the CPU, what it takes, and the file's sha256.

    Raises CheckpointError where the file is missing, damaged, not plain, or of a PyTorch that this one cannot read.
    """
    import torch

    content = read_weights_file(path)
    facts = check_program(content, str(path))
    try:
        with _only_weights():
            program = torch.export.load(io.BytesIO(content))
        # Python source of the file's: nothing of it is run, shapes are held against the recipe.
        program._guards_code = []
        module: nn.Module = program.module(check_guards=False)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        # Whatever the checks let pass and PyTorch cannot read.
        told = plain(f"{type(error).__name__}: {error}", 300)
        raise CheckpointError(
            f"{path}: PyTorch {torch.__version__} cannot read this program: {told}", f"with this PyTorch, {SAVE_AGAIN}"
        ) from error
    plain_tensors(module.state_dict(), len(content), path)
    return module.requires_grad_(False), facts, digest_bytes(content)


@contextlib.contextmanager
def _only_weights() -> Iterator[None]:
    """Let torch.load build tensors alone, whatever its caller asks for; keep its advice to developers off."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with quiet_torch():
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
