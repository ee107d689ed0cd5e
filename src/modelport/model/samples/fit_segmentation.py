"""Sample weights of a segmentation network: its last 1×1 convolution in closed form, from the features of places."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from modelport.core.errors import UsageError
from modelport.core.values import Array

# Ridge strength as a share of the features' mean variance: places outnumber the features by far.
RIDGE = 1e-3
# Of one image, what returns the classes (h, w) at the middles of a grid of that height and width; below 0: not counted.
Grid = Callable[[int, int], Array]


def fit_last_convolution(
    module: nn.Module, classes: int, batches: Iterable[tuple[Array, list[Grid]]], after_batch: Callable[[int], None]
) -> None:
    """Fit the last 1×1 convolution that gives a score for each class, in place, by ridge regression in float64.

    A batch is images float32 (N, C, H, W), normalised, and for each image its truth. Targets are one-hot, and the
    places of a class in an image together weigh the root of their number, so that background does not outvote all
    else. Every other such convolution, whose scores the network would add, is set to zero. Raises UsageError where
    there is none, or no place has a class.
    """
    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.out_channels == classes]
    layers = [part for part in layers if part.kernel_size == (1, 1) and part.groups == 1 and part.bias is not None]
    if not layers:
        raise UsageError(
            f"this architecture has no 1×1 convolution with a bias that gives {classes} scores",
            "give real weights with --weights",
        )
    *others, head = layers
    width = head.in_channels + 1
    gram, right = np.zeros((width, width)), np.zeros((width, classes))
    seen: list[Array] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    try:
        with torch.inference_mode():
            for images, truths in batches:
                seen.clear()
                module(torch.from_numpy(images))
                for features, truth in zip(seen[0], truths, strict=True):
                    _add(features, truth(*features.shape[1:]), gram, right)
                after_batch(len(truths))
    finally:
        handle.remove()
    if not right.any():
        raise UsageError("no place of a training image has a class", "give a training split with masks")
    # The constant, which becomes the bias, is not shrunk.
    strength = RIDGE * np.trace(gram[:-1, :-1]) / (width - 1)
    solution = np.linalg.solve(gram + strength * np.diag([*np.ones(width - 1), 0.0]), right)
    with torch.no_grad():
        for other in others:
            nn.init.zeros_(other.weight)
            nn.init.zeros_(other.bias)  # type: ignore[arg-type]
        head.weight.copy_(torch.from_numpy(solution[:-1].T).reshape(head.weight.shape))
        head.bias.copy_(torch.from_numpy(solution[-1]))  # type: ignore[union-attr]


def _add(features: Array, truth: Array, gram: Array, right: Array) -> None:
    """Add the sums of one image: features (d, h, w) and classes (h, w)."""
    known = truth >= 0
    labels = truth[known]
    x = np.concatenate([features[:, known].T.astype(np.float64), np.ones((len(labels), 1))], axis=1)
    weights = 1 / np.sqrt(np.bincount(labels, minlength=right.shape[1]))[labels] if len(labels) else np.ones(0)
    gram += (x * weights[:, None]).T @ x
    np.add.at(right.T, labels, x * weights[:, None])
