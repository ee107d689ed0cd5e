"""What a weights file holds, described without a recipe: its wrapping, keys, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelport.core.artifacts import digest_bytes
from modelport.core.text import plain
from modelport.model.weights.checkpoint import MAX_SHARING, dtype_of, read_weights_file
from modelport.model.weights.file import decode
from modelport.model.weights.health import examined
from modelport.model.weights.roles import arrays_of, weights_of_state
from modelport.model.weights.wrapping import common_prefix, path_of, state_dicts


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Describe a weights file as JSON values; nothing in it is executed.

    Each state dict by the keys that lead to it, its tensors by name with dtype and shape, and what rides beside them.
    ``parameters`` counts the elements of its floating-point tensors (weights and running statistics alike), ``weights``
    is what these tell of themselves (``model/weights/health.py``). Raises CheckpointError where the file is missing,
    damaged or unsafe.
    """
    import torch

    content = read_weights_file(path)
    held = decode(content, str(path))
    found = state_dicts(held)
    described = {
        path_of(place) or "top level": {
            "tensors": len(tensors),
            "parameters": sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point()),
            "dtypes": sorted({dtype_of(tensor) for tensor in tensors.values()}),
            "prefix": common_prefix(tensors),
            # Called on the class: a tensor may carry attributes that the file gave it.
            "keys": {
                plain(
                    key, 200
                ): f"{dtype_of(tensor)} {list(torch.Tensor.size(tensor)) if not tensor.is_nested else '?'}"
                for key, tensor in tensors.items()
            },
            "weights": _examined(tensors, len(content)),
        }
        for place, tensors in found.items()
    }
    tops = {place[0] for place in found if place}
    items = held.items() if isinstance(held, Mapping) else [("(whole file)", held)]
    beside = {plain(key, 200): type(value).__name__ for key, value in items if key not in tops}
    return {
        "schema": "modelport.checkpoint/1",
        "file": str(path),
        "bytes": len(content),
        "sha256": digest_bytes(content),
        "state_dicts": described,
        "beside": {} if () in found else beside,
    }


def _examined(tensors: Mapping[str, Any], file_bytes: int) -> dict[str, Any]:
    """Return what weights tell of themselves; nothing where they claim far more values than the file can hold."""
    import torch

    if (
        sum(torch.Tensor.numel(tensor) * torch.Tensor.element_size(tensor) for tensor in tensors.values())
        > MAX_SHARING * file_bytes
    ):
        return {}
    return examined(weights_of_state(arrays_of(tensors))).to_json()
