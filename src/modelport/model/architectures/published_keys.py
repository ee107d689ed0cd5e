"""Keys of weights as their authors published them → those of a library's network, by the library's own conversion."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelport.core.text import listed

if TYPE_CHECKING:
    import torch
    from torch import nn

# What timm's files of models call the function that its own loading passes weights through (timm/models/_builder.py).
CONVERSION = "checkpoint_filter_fn"

Tensors = dict[str, "torch.Tensor"]


def converted(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[Tensors, str] | None:
    """Return the tensors by the names of timm's network ``module``, and what was done; None where nothing is to do.

    Only names change: a conversion that computes a value (resizes, transposes) is not taken, nor one after which the
    network's keys are not all there. What it leaves out is named.
    """
    wanted = set(module.state_dict())
    convert = getattr(sys.modules.get(type(module).__module__), CONVERSION, None)
    if convert is None or not type(module).__module__.startswith("timm.") or wanted == set(tensors):
        return None
    try:
        told = dict(convert(dict(tensors), module))
    except Exception:
        # It is written for the published files alone; strict loading then names what does not fit.
        return None
    given = {(tensor.data_ptr(), tensor.numel(), tensor.dtype): key for key, tensor in tensors.items()}
    origins = [given.get((tensor.data_ptr(), tensor.numel(), tensor.dtype)) for tensor in told.values()]
    if set(told) != wanted or None in origins:
        return None
    renamed = sum(key != origin for key, origin in zip(told, origins, strict=True))
    left_out = sorted({key.rpartition(".")[2] for key in set(tensors) - set(origins)})
    note = f"{renamed} of {len(told)} keys renamed by timm's own conversion of published weights"
    return told, note + (f"; left out, as the network computes it: {listed(left_out, 4)}" if left_out else "")
