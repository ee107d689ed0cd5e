"""Contrastive training: the loss is NT-Xent by its formula, and the weights learn, each time the same."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from modelport.core.errors import UsageError
from modelport.model.architectures.simclr import SimCLR
from modelport.model.samples.fit import calibrate_batch_norms
from modelport.model.samples.fit_contrastive import contrastive_loss, start_from_patches, train_simclr


def in_loops(rows: list[list[float]], temperature: float) -> float:
    units = [[value / math.hypot(*row) for value in row] for row in rows]
    losses = []
    for index, row in enumerate(units):
        powers = [math.exp(sum(a * b for a, b in zip(row, other, strict=True)) / temperature) for other in units]
        losses.append(-math.log(powers[index ^ 1] / (sum(powers) - powers[index])))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_loss_is_nt_xent(temperature: float) -> None:
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 5)))
    assert contrastive_loss(rows, temperature).item() == pytest.approx(in_loops(rows.tolist(), temperature))


def test_the_loss_does_not_look_at_length_or_order() -> None:
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5)))
    want = contrastive_loss(rows, 0.2).item()
    assert contrastive_loss(rows * 7, 0.2).item() == pytest.approx(want)
    assert contrastive_loss(rows[[2, 3, 1, 0, 5, 4]], 0.2).item() == pytest.approx(want)


def stripes(pairs: int, steps: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """Yield pairs of noisy views of random striped images."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:32, 0:32]
    for _ in range(steps):
        turn, waves = rng.uniform(-9, 9, (2, pairs, 1, 1, 1))
        images = np.sin((turn * x + waves * y) / 16) * rng.normal(size=(pairs, 3, 1, 1))
        noisy = np.repeat(images, 2, axis=0) + 0.1 * rng.normal(size=(2 * pairs, 3, 32, 32))
        yield noisy.astype(np.float32)


def trained(steps: int) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    module, losses = SimCLR(features=16), list[float]()
    train_simclr(module, stripes(16, steps, seed=0), steps=steps, after_step=losses.append)
    return module, losses


@pytest.mark.slow
def test_training_learns_to_tell_images_apart() -> None:
    module, losses = trained(12)
    assert len(losses) == 12
    assert losses[-1] < 0.7 * losses[0] < 0.7 * 2 * math.log(31)
    assert not module.training
    (views,) = stripes(16, 1, seed=1)
    torch.manual_seed(0)
    untrained = SimCLR(features=16).eval()
    with torch.inference_mode():
        before, after = (contrastive_loss(net(torch.from_numpy(views)), 0.2).item() for net in (untrained, module))
    assert after < 0.8 * before


@pytest.mark.slow
def test_equal_views_give_equal_weights() -> None:
    (one, losses), (two, again) = trained(2), trained(2)
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_no_more_batches_are_taken_than_steps() -> None:
    batches = stripes(2, 5, seed=0)
    train_simclr(SimCLR(features=4), batches, steps=2)
    assert len(list(batches)) == 3


def test_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear is no SimCLR"):
        train_simclr(nn.Linear(2, 2), stripes(2, 1, seed=0), steps=1)


def test_a_start_from_patches_knows_more_than_chance() -> None:
    (views,) = stripes(64, 1, seed=2)
    losses = []
    for start in (False, True):
        torch.manual_seed(0)
        module = SimCLR().eval()
        if start:
            start_from_patches(module, views, seed=0)
        calibrate_batch_norms(module, [views])
        with torch.inference_mode():
            losses.append(contrastive_loss(module(torch.from_numpy(views)), 0.2).item())
    assert losses[1] < 0.95 * losses[0]
