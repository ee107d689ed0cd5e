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


def last_linear(module: nn.Module) -> nn.Linear:
    """Return the layer that is fitted. Raises UsageError where there is no linear layer."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise UsageError("this architecture has no linear layer to fit", "give real weights with --weights")
    return layers[-1]


def fit_head(module: nn.Module, batches: Iterable[tuple[Array, Array]], after_batch: Callable[[int], None]) -> None:
    """Fit the last linear layer to (images, targets (n, outputs) float) by ridge regression.

    With centred features X (n, d) and targets Y: W = Xᵀ(XXᵀ + λI)⁻¹Y, in float64 (the dual form of ridge regression),
    or (XᵀX + λI)⁻¹XᵀY, which is the same, where rows outnumber the features. A layer that answers several positions of
    an image is fitted to targets (n, positions, outputs). Raises UsageError where there is no linear layer.
    """
    head = last_linear(module)
    seen: list[Array] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy().astype(np.float64)))
    wanted: list[Array] = []
    try:
        with torch.inference_mode():
            for images, targets in batches:
                module(torch.from_numpy(images))
                wanted.append(targets)
                after_batch(len(targets))
    finally:
        handle.remove()
    features, targets = (
        np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts]) for parts in (seen, wanted)
    )
    weight, bias = _ridge(features, targets)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        head.bias.copy_(torch.from_numpy(bias.astype(np.float32)))


def rule_out(module: nn.Module, outputs: Array) -> None:
    """Give these outputs (bool (outputs,)) of the last linear layer no weights and a bias below all others.

    So what no sample has is never the answer.
    """
    head, absent = last_linear(module), torch.from_numpy(outputs)
    with torch.no_grad():
        head.weight[absent] = 0.0
        # One after another, so that no two outputs are equal: a tie would make the ranking arbitrary.
        head.bias[absent] = torch.from_numpy(-2.0 - np.arange(outputs.sum()) / len(outputs)).float()


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


def _ridge(features: Array, targets: Array) -> tuple[Array, Array]:
    center, middle = features.mean(axis=0), targets.mean(axis=0)
    x, y = features - center, targets - middle
    dual = len(x) <= x.shape[1]
    gram = x @ x.T if dual else x.T @ x
    lifted = gram + RIDGE * np.trace(gram) / len(x) * np.eye(len(gram))
    weight = (x.T @ np.linalg.solve(lifted, y)).T if dual else np.linalg.solve(lifted, x.T @ y).T
    return weight, middle - weight @ center
