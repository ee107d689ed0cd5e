"""The detector's sample weights: on pictures of two colours it finds both, and says nothing about other classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from modelport.core.errors import UsageError
from modelport.core.values import Array
from modelport.model.architectures import build_random
from modelport.model.architectures.retinanet_nasfpn import RetinaNet
from modelport.model.samples.fit import calibrate_batch_norms
from modelport.model.samples.fit_detector import fit_detector, soften
from modelport.recipes.tables import Model
from modelport.tasks.detection.boxes import overlaps

SIZE, CLASSES = 256, 4
RED, BLUE = 0, 2
COLOURS = {RED: (2.0, -1.0, -1.0), BLUE: (-1.0, -1.0, 2.0)}


def pictures(seed: int = 5) -> Iterator[tuple[Array, Array, Array]]:
    """Yield four pictures: image (1, 3, 256, 256), boxes (1, 4) and classes (1,), by turns red and blue."""
    rng = np.random.default_rng(seed)
    for index in range(4):
        image = np.repeat(rng.normal(0, 0.3, (1, 1, 32, 32)), 3, 1).repeat(8, 2).repeat(8, 3).astype(np.float32)
        label = (RED, BLUE)[index % 2]
        side = int(rng.integers(40, 100))
        x, y = (int(place) for place in rng.integers(0, SIZE - side, 2))
        image[0, :, y : y + side, x : x + side] = np.array(COLOURS[label], np.float32)[:, None, None]
        yield image, np.array([[x, y, x + side, y + side]], np.float64), np.array([label])


def fitted(count: int) -> tuple[nn.Module, int]:
    module = build_random(Model(architecture="retinanet_r50_nasfpn", arguments={"classes": CLASSES}), 0)
    drawn = list(pictures())[:count]
    done: list[int] = []
    soften(module)
    calibrate_batch_norms(module, (image for image, _, _ in drawn))
    fit_detector(module, ((image, [boxes], [labels]) for image, boxes, labels in drawn), done.append)
    return module, sum(done)


@pytest.mark.slow
def test_true_boxes_rank_above_background() -> None:
    module, done = fitted(4)
    assert done == 4
    assert not module.training
    for image, boxes, labels in pictures():
        with torch.inference_mode():
            found, scores = (output[0].numpy() for output in module(torch.from_numpy(image)))
        shares = overlaps(boxes[0], found)
        best = np.unravel_index(scores.argmax(), scores.shape)
        assert best[1] == labels[0]
        assert shares[best[0]] > 0.5
        assert scores[shares > 0.6][:, labels[0]].max() > 0.5
        away = scores[shares == 0]
        # Background is mostly below the published threshold, though not everywhere.
        assert np.quantile(away, 0.99) < 0.05
        assert scores[:, [1, 3]].max() < 0.001
    # Any features tell four known pictures apart; only those of a softened network say where things lie in others.
    for image, boxes, labels in pictures(6):
        with torch.inference_mode():
            found, scores = (output[0].numpy() for output in module(torch.from_numpy(image)))
        best = np.unravel_index(scores.argmax(), scores.shape)
        assert best[1] == labels[0]
        assert overlaps(boxes[0], found)[best[0]] > 0.4


@pytest.mark.slow
def test_equal_seeds_and_pictures_give_equal_weights() -> None:
    first, second = (fitted(1)[0].state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert first["bbox_head.retina_cls.weight"].any()


@pytest.mark.slow
def test_pictures_without_boxes_are_refused() -> None:
    module = RetinaNet(CLASSES).eval()
    batch = (np.zeros((1, 3, 128, 128), np.float32), [np.zeros((0, 4))], [np.zeros(0, np.int64)])
    with pytest.raises(UsageError, match="no training image has a box"):
        fit_detector(module, [batch], lambda _: None)
    assert not module.bbox_head.retina_cls._forward_pre_hooks


def test_another_network_is_refused() -> None:
    for step in (soften, lambda module: fit_detector(module, [], lambda _: None)):
        with pytest.raises(UsageError, match="no detector"):
            step(nn.Linear(2, 2))
