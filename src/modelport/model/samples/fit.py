"""Sample weights, made on the spot: a random network with calibrated batch norms and a head fitted in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import UsageError
from modelport.core.values import Array
from modelport.recipes.tables import Checkpoint

# Ridge strength as a share of the features' mean squared length; features outnumber the samples by far.
RIDGE = 0.1


def calibrate_batch_norms(module: nn.Module, batches: Iterable[Array]) -> None:
    """Set every batch norm's statistics to the averages over ``batches`` (each float32 (N, C, H, W))."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
        norm.train()
    with torch.inference_mode():
        for batch in batches:
            module(torch.from_numpy(batch))
    for norm in norms:
        norm.momentum = 0.1
        norm.eval()


def fit_head(module: nn.Module, batches: Iterable[tuple[Array, Array]], after_batch: Callable[[int], None]) -> None:
    """Fit the last linear layer to (images, output indices) by ridge regression on one-hot targets.

    With centred features X (n, d) and targets Y: W = Xᵀ(XXᵀ + λI)⁻¹Y, in float64 (the dual form of ridge regression).
    Outputs that no sample has get no weights and a bias below all others, so they are never the answer. Raises
    UsageError where there is no linear layer.
    """
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise UsageError("this architecture has no linear layer to fit", "give real weights with --weights")
    head = layers[-1]
    seen: list[Array] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy().astype(np.float64)))
    labels: list[Array] = []
    try:
        with torch.inference_mode():
            for images, indices in batches:
                module(torch.from_numpy(images))
                labels.append(indices)
                after_batch(len(indices))
    finally:
        handle.remove()
    features, indices = np.concatenate(seen), np.concatenate(labels)
    weight, bias = _ridge(features, indices, head.out_features)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(bias))


def save_as_published(module: nn.Module, wrapping: Checkpoint, out: Path) -> Artifact:
    """Write the module's state dict, wrapped and prefixed as the recipe says, in torch's zip format."""
    content: Any = {
        wrapping.strip_prefix + name: tensor.detach().clone() for name, tensor in module.state_dict().items()
    }
    for key in reversed(wrapping.unwrap):
        content = {key: content}
    with written_aside(out) as aside:
        torch.save(content, aside)
        artifact = Artifact.of(aside, "checkpoint")
    return Artifact(out, artifact.kind, artifact.sha256)


def _ridge(features: Array, indices: Array, width: int) -> tuple[Array, Array]:
    targets = np.eye(width)[indices]
    center, middle = features.mean(axis=0), targets.mean(axis=0)
    x, y = features - center, targets - middle
    gram = x @ x.T
    strength = RIDGE * np.trace(gram) / len(x)
    weight = (x.T @ np.linalg.solve(gram + strength * np.eye(len(x)), y)).T
    bias = middle - weight @ center
    absent = ~targets.any(axis=0)
    weight[absent] = 0.0
    # One after another, so that no two outputs are equal: a tie would make the ranking arbitrary.
    bias[absent] = -2.0 - np.arange(absent.sum()) / width
    return weight.astype(np.float32), bias.astype(np.float32)
