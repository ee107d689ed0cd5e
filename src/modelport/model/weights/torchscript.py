"""TorchScript files: recognised, never run, and told the way to a file that can be looked into."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath

from modelport.core.errors import CheckpointError


def is_torchscript(names: Collection[str]) -> bool:
    """Whether an archive's names are TorchScript's."""
    return any(entry.endswith("/constants.pkl") or "/code/" in entry for entry in names)


def torchscript_error(name: str) -> CheckpointError:
    """Return the error for such a file, with the three lines of Python that make a ``.pt2`` of it."""
    out = PurePath(name).with_suffix(".pt2").name
    return CheckpointError(
        f"{name}: a TorchScript archive, which holds code",
        "make a .pt2 of it, with the shape of its input, on a machine you can spare if you do not trust the file, and "
        f"give --source {out}:\n"
        "    import torch; from torch._export.converter import TS2EPConverter\n"
        f'    net = torch.jit.load("{name}", map_location="cpu").eval()\n'
        f'    torch.export.save(TS2EPConverter(net, (torch.zeros(1, 3, 224, 224),)).convert(), "{out}")',
    )
