"""Sample weights by contrastive training (SimCLR, arXiv:2002.05709): short, real, and the same for the same views."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelport.core.errors import UsageError
from modelport.core.values import Array
from modelport.model.architectures.resnet import BasicBlock
from modelport.model.architectures.simclr import SimCLR
from modelport.model.samples.fit import calibrate_batch_norms

# What the training takes to learn to tell drawn images apart: batches of views, and images in each.
STEPS = 260
PAIRS = 64
TEMPERATURE = 0.1
RATE = 2e-4
# Share of the steps in which the rate rises from nothing; after that it falls along a cosine.
WARM_UP = 0.1
# Batches of views that the batch norms' final statistics are taken over.
CALIBRATION_BATCHES = 8
# Patches that the first layer's filters are whitened by.
PATCHES = 8000
# At the start: the weight of what a block adds to its input, and of chance in what is handed on.
QUIET, CHANCE = 0.1, 0.1


def train_simclr(
    module: nn.Module,
    batches: Iterable[Array],
    *,
    seed: int = 0,
    steps: int = STEPS,
    rate: float = RATE,
    temperature: float = TEMPERATURE,
    after_step: Callable[[float], None] = lambda loss: None,
) -> None:
    """Train all of a SimCLR on ``steps`` batches of views, in place, and leave it in evaluation mode.

    A batch is float32 (2B, C, H, W), the two views of an image adjacent; training starts from patches of the first,
    chosen by ``seed``. ``after_step`` is called with each loss. Adam with a rate that rises, then falls to nothing;
    equal batches and seeds give equal weights on equal machines. Runs on one thread. Raises UsageError for
    another network.
    """
    seen: deque[Array] = deque(maxlen=CALIBRATION_BATCHES)
    threads = torch.get_num_threads()
    # The layers are small: where cores are shared, threads that wait for each other take ten times as long.
    torch.set_num_threads(1)
    try:
        module.train()
        optimizer = torch.optim.Adam(module.parameters(), lr=rate)
        for step, batch in zip(range(steps), batches, strict=False):
            if step == 0:
                start_from_patches(module, batch, seed)
            for group in optimizer.param_groups:
                group["lr"] = rate * _schedule(step, steps)
            loss = contrastive_loss(module(torch.from_numpy(batch)), temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen.append(batch)
            after_step(loss.item())
        module.eval()
        # In so short a training the running averages lag behind the weights.
        calibrate_batch_norms(module, seen)
    finally:
        torch.set_num_threads(threads)


def start_from_patches(module: nn.Module, views: Array, seed: int) -> None:
    """Set weights of a SimCLR that a short training can begin with, in place; ``views`` float32 (2B, 3, H, W).

    The first filters are whitened patches of the views (Coates and Ng 2011, "An Analysis of Single-Layer Networks in
    Unsupervised Feature Learning"); the blocks after them average what these find and hand it on. From PyTorch's own
    random start, a minute of training learns next to nothing. Raises UsageError for another network.
    """
    if not isinstance(module, SimCLR):
        raise UsageError(f"{type(module).__name__} is no SimCLR", "give real weights with --weights")
    network = module.backbone
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        network.conv1.weight.copy_(torch.from_numpy(_whitened_patches(views, tuple(network.conv1.weight.shape), rng)))
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            for block in stage:
                _hand_on(block)  # type: ignore[arg-type]


def contrastive_loss(rows: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of rows (2B, D), the two views of an image adjacent: how hard each is to find by the other."""
    units = functional.normalize(rows, dim=1)
    index = torch.arange(len(rows))
    # A row is no candidate for itself.
    logits = (units @ units.T / temperature).masked_fill(torch.eye(len(rows), dtype=torch.bool), -math.inf)
    return functional.cross_entropy(logits, index ^ 1)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the rate at a step."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _whitened_patches(views: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return filters of ``shape`` (n, 3, k, k), float32: random patches, their contrast evened out, ZCA-whitened."""
    count, _, side, _ = shape
    height, width = views.shape[2:]
    places = zip(
        rng.integers(0, len(views), PATCHES),
        rng.integers(0, height - side + 1, PATCHES),
        rng.integers(0, width - side + 1, PATCHES),
        strict=True,
    )
    rows = np.stack([views[view, :, top : top + side, left : left + side] for view, top, left in places])
    rows = rows.reshape(PATCHES, -1).astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-3)
    values, vectors = np.linalg.eigh(rows.T @ rows / PATCHES)
    whiten = vectors / np.sqrt(values + 0.1 * values.mean()) @ vectors.T
    filters = rows[:count] @ whiten
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    whitened: Array = (filters @ whiten).reshape(shape).astype(np.float32)
    return whitened


def _hand_on(block: BasicBlock) -> None:
    """Let a block average its channels where it shrinks, each with both signs, and else add little to its input."""
    if block.downsample is None:
        block.bn2.weight.fill_(QUIET)
        return
    first, second = block.conv1.weight, block.conv2.weight
    width = first.shape[1]
    channel, every = torch.arange(width), torch.arange(2 * width)
    # Of the length that a filter has by chance, so that chance has its share of the result.
    length, length_second = first.std() * math.sqrt(9 * width), second.std() * math.sqrt(18 * width)
    first *= CHANCE
    # Cut off at zero, a channel and its negative together lose nothing.
    first[channel, channel] += length / 3
    first[width + channel, channel] -= length / 3
    second *= CHANCE
    second[every, every, 1, 1] += length_second
    block.bn1.bias.fill_(0.5)
    block.downsample[1].weight.fill_(QUIET)  # type: ignore[index]
