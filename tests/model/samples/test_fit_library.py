"""Sample weights of a library's network answer white noise, which an export is tried with, in the range of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from modelport.core.values import Array
from modelport.model.architectures import build_random
from modelport.model.samples.fit import calibrate_batch_norms
from modelport.recipes.tables import Model
from modelport.stages.sample_weights.closed_form import with_noise

SIDE = 64


def _smooth(rows: int) -> Array:
    """Pictures without any fine structure: planes that rise evenly."""
    rng = np.random.default_rng(1)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slopes = rng.standard_normal((rows, 3, 2, 1, 1), dtype=np.float32)
    planes: Array = slopes[:, :, 0] * ramp[:, None] + slopes[:, :, 1] * ramp
    return planes


def test_noise_stands_beside_each_batch_and_is_always_the_same() -> None:
    def batches() -> Iterator[Array]:
        return iter([_smooth(3), _smooth(2)])

    first, again = list(with_noise(batches(), 4)), list(with_noise(batches(), 4))
    assert [len(batch) for batch in first] == [4, 3]
    assert all(np.array_equal(batch[:-1], plain) for batch, plain in zip(first, batches(), strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0][-1], first[1][-1]) and first[0].dtype == np.float32


def _lift(mixed: bool) -> float:
    """How much larger the answers to noise are than those to pictures."""
    network = build_random(Model(architecture="torchvision:efficientnet_b0"), 0)
    pictures = _smooth(8)
    calibrate_batch_norms(network, with_noise(iter([pictures]), 0) if mixed else [pictures])
    noise = torch.randn([2, 3, SIDE, SIDE], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float(network(noise).abs().max() / network(torch.from_numpy(pictures)).abs().max())


def test_an_efficient_network_lifts_noise_far_less() -> None:
    assert _lift(mixed=True) < _lift(mixed=False) / 20
