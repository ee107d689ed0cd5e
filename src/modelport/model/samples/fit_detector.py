"""Sample weights of the detector: a random network that lets its signal through, and two convolutions in closed form.

As PyTorch initialises it, the detector is some eighty layers of noise deep, and nothing of where things lie comes out
at its end: fitted on it, the last convolutions find no held-out box. ``soften`` therefore comes before the calibration
and ``fit_detector`` after it. The backbone, the laterals and the towers keep their random convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelport.core.errors import UsageError
from modelport.core.values import Array
from modelport.model.architectures.resnet import Bottleneck
from modelport.model.architectures.retinanet_nasfpn import ANCHORS, STRIDES, RetinaNet, anchor_table

# A residual branch beside its shortcut: at full weight sixteen of them drown the colours and edges of the first.
BRANCH = 0.3
# What a level of the neck takes from the coarser ones: at full weight seven stages leave of all levels their average.
CROSS = 0.3
# In deviations, how far the neck's and the towers' values lie above zero: where a rectifier cuts off little, a chain of
# them keeps what it is given. The towers are cut more, since colours told apart by a linear rule need bends.
NECK_LIFT, TOWER_LIFT = 2.0, 1.0

# As in the detector's published training: overlap of an anchor with a box from which it is one, up to which it is none.
POSITIVE, NEGATIVE = 0.5, 0.4
# Places of background from one level of one image; more would only give the finest level more weight.
BACKGROUND = 300
# Ridge strengths as shares of the features' mean variance. The 2304 features outnumber the places of one class ten
# times. The fainter what is to be read, the stronger: a colour is plain, a shape less so, an edge's distance least.
CLASS_RIDGE, SHAPE_RIDGE, BOX_RIDGE = 0.01, 0.1, 0.3
# How much an anchor's shape counts beside the class: enough to rank the anchors of one place, not to outvote colours.
SHAPE_SHARE = 0.2
# The share of a predicted shift that is applied: the rest is as likely noise, and an anchor overlaps by half already.
SHIFT_SHARE = 0.5
# Logits: where background ends (the published score threshold), what a training box gets, what an absent class gets.
EDGE, FOUND, ABSENT = math.log(0.05 / 0.95), 1.0, -10.0
# Background ends so many of its deviations above its mean, but below the mean of the boxes in any case.
DEVIATIONS, LATEST_EDGE = 4.0, 0.8
# Images (N, 3, H, W), and per image its boxes (n, 4) and its classes (n,).
Batch = tuple[Array, Sequence[Array], Sequence[Array]]


def soften(module: nn.Module) -> None:
    """Make a random detector's depth bearable; batch norms must be calibrated afterwards.

    Weakens the residual branches, makes every convolution of the neck's stages pass on its own channel, and lifts what
    the rectifiers get. Nothing here is random. Raises UsageError for another network than the detector.
    """
    detector = _detector(module)
    with torch.no_grad():
        for part in detector.backbone.modules():
            if isinstance(part, Bottleneck):
                part.bn3.weight.fill_(BRANCH)
        for lateral in detector.neck.lateral_convs:
            lateral.bn.bias.fill_(NECK_LIFT)  # type: ignore[union-attr, operator]
        passing = [(down[0], 1.0) for down in detector.neck.extra_downsamples]  # type: ignore[index]
        for stage in detector.neck.fpn_stages:
            for name, merged in stage.named_children():
                passing.append((merged.out_conv, CROSS if name in ("gp_64_4", "sum_44_4") else 1.0))
        for layer, weight in passing:
            nn.init.dirac_(layer.conv.weight)
            layer.bn.weight.fill_(weight)
            layer.bn.bias.fill_(weight * NECK_LIFT)
        for towers in (detector.bbox_head.cls_convs, detector.bbox_head.reg_convs):
            for norm in towers.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.bias.fill_(TOWER_LIFT)


def fit_detector(module: nn.Module, batches: Iterable[Batch], after_image: Callable[[int], None]) -> None:
    """Fit the last convolution for classes and the one for boxes, in place, by ridge regression in float64.

    A batch is images float32 (N, 3, H, W), normalised, and per image its boxes (n, 4), x1 y1 x2 y2 in the network's
    pixels, and its classes (n,), integers; H and W are multiples of 128. ``after_image`` is called with 1 for each.
    Only sums are kept between images. The class without a box stays silent. Raises UsageError for another network
    than the detector and where no image has a box.
    """
    detector = _detector(module)
    head = detector.bbox_head
    seen: dict[str, list[Tensor]] = {"classes": [], "boxes": []}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, own=own: own.append(inputs[0]))
        for layer, own in ((head.retina_cls, seen["classes"]), (head.retina_reg, seen["boxes"]))
    ]
    classes, boxes = _Sums(), _Sums()
    rng = np.random.default_rng(0)
    try:
        with torch.inference_mode():
            for images, corners, labels in batches:
                for image, own, classed in zip(images, corners, labels, strict=True):
                    seen["classes"].clear()
                    seen["boxes"].clear()
                    detector.heads(torch.from_numpy(image[None]))
                    places = _Places.of(image.shape[1:], own, classed)
                    rows = places.sample(rng)
                    classes.add(_windows(seen["classes"], rows), places.marks(rows, detector.classes))
                    found = np.flatnonzero(places.nearest >= 0)
                    boxes.add(_windows(seen["boxes"], found), places.shifts(found))
                    after_image(1)
    finally:
        for hook in hooks:
            hook.remove()
    if not boxes.count:
        raise UsageError("no training image has a box", "give a training split with annotations")
    _store(head.retina_cls, *_class_layer(classes, detector.classes))
    _store(head.retina_reg, *_box_layer(boxes))


@dataclass(frozen=True, slots=True)
class _Places:
    """All places of all levels of one image, P3 first, and what lies there."""

    corners: Array  # (P, 2) float64, the centre of a place's anchors
    strides: Array  # (P,)
    slots: Array  # (P, 9) bool: the anchors that are a box
    nearest: Array  # (P,) the box that one of the anchors fits best, −1 for none
    background: Array  # (P,) bool: no anchor is near any box
    boxes: Array
    labels: Array

    @staticmethod
    def of(size: tuple[int, ...], boxes: Array, labels: Array) -> _Places:

        tables = [anchor_table(size[0] // stride, size[1] // stride, stride) for stride in STRIDES]
        anchors = np.concatenate(tables).astype(np.float64)
        strides = np.repeat(STRIDES, [len(table) // ANCHORS for table in tables])
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        shares = _overlaps(anchors, boxes)
        best, which = shares.max(1, initial=0), shares.argmax(1) if len(boxes) else np.zeros(len(anchors), np.int64)
        # The best anchor of a box is positive however little it overlaps.
        forced = shares.argmax(0)
        which[forced] = np.arange(len(boxes))
        positive = best >= POSITIVE
        positive[forced] = True
        best[forced] = np.maximum(best[forced], POSITIVE)
        slots, best, which = positive.reshape(-1, ANCHORS), best.reshape(-1, ANCHORS), which.reshape(-1, ANCHORS)
        fitting = np.take_along_axis(which, best.argmax(1)[:, None], 1)[:, 0]
        nearest = np.where(slots.any(1), fitting, -1)
        background = (best < NEGATIVE).all(1)
        return _Places(anchors[::ANCHORS, :2], strides, slots, nearest, background, boxes, np.asarray(labels))

    def sample(self, rng: np.random.Generator) -> Array:
        """Return the rows of all places with a box and of some background per level."""
        rows = [np.flatnonzero(self.nearest >= 0)]
        for stride in np.unique(self.strides):
            rows.append(rng.permutation(np.flatnonzero(self.background & (self.strides == stride)))[:BACKGROUND])
        return np.concatenate(rows)

    def marks(self, rows: Array, classes: int) -> Array:
        """Return (rows, classes + 9 + 2) zeros and ones: the class, the slots, whether a box, whether background."""
        nearest = self.nearest[rows]
        marks = np.zeros((len(rows), classes + self.slots.shape[1] + 2))
        found = np.flatnonzero(nearest >= 0)
        marks[found, self.labels[nearest[found]]] = 1
        marks[:, classes:-2] = self.slots[rows]
        marks[:, -2], marks[:, -1] = nearest >= 0, nearest < 0
        return marks

    def shifts(self, rows: Array) -> Array:
        """Return (rows, 4): the way to the box's centre in strides, and the logarithm of its sides in strides."""
        boxes, stride = self.boxes[self.nearest[rows]], self.strides[rows, None]
        way = (boxes[:, :2] + boxes[:, 2:]) / 2 - self.corners[rows]
        sides = (boxes[:, 2:] - boxes[:, :2]).clip(min=1)
        return np.concatenate([way / stride, np.log(sides / stride)], 1)


class _Sums:
    """What a ridge regression needs of features X and targets Y, summed up in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.x: Array = np.zeros(())
        self.y: Array = np.zeros(())
        self.xx: Array = np.zeros(())
        self.xy: Array = np.zeros(())

    def add(self, x: Array, y: Array) -> None:
        """Add features (n, d) float32 and targets (n, t)."""
        wide = x.astype(np.float64)
        self.count += len(x)
        self.x, self.y = self.x + wide.sum(0), self.y + y.sum(0)
        self.xx, self.xy = self.xx + wide.T @ wide, self.xy + wide.T @ y

    def spread(self, center: Array) -> Array:
        """Return the mean of (x − center)(x − center)ᵀ, (d, d)."""
        mean = self.x / self.count
        away = mean - center
        spread: Array = self.xx / self.count - np.outer(mean, mean) + np.outer(away, away)
        return spread


def _class_layer(sums: _Sums, classes: int) -> tuple[Array, Array]:
    """Return weights (9 · classes, d) and biases: a rule per class plus a share of a rule per slot.

    Classes share what tells the anchors of a place apart, and slots what tells the classes apart; class by slot there
    would be a handful of samples each. Each rule is a linear discriminant with the covariance of all places, scaled
    to 0 at background's mean and 1 at its own.
    """
    means = sums.xy / sums.y.clip(min=1)
    background = means[:, -1]
    spread = sums.spread(background)
    present = sums.y[:-2] > 0
    by_class = _discriminants(spread, (means[:, :classes] - background[:, None]) * present[:classes], CLASS_RIDGE)
    by_slot = _discriminants(spread, (means[:, classes:-2] - means[:, -2:-1]) * present[classes:], SHAPE_RIDGE)
    deviations = np.sqrt(np.einsum("ij,ij->j", by_class, spread @ by_class))
    edge = np.minimum(DEVIATIONS * deviations, LATEST_EDGE)
    gain = (FOUND - EDGE) / (1 - edge)
    rules = gain[:, None] * (by_class.T[None] + SHAPE_SHARE * by_slot.T[:, None])  # (9, classes, d)
    offsets = EDGE - gain * edge - rules @ background
    silent = ~(present[classes:, None] & present[None, :classes])
    rules[silent], offsets[silent] = 0.0, ABSENT
    return rules.reshape(-1, rules.shape[-1]), offsets.reshape(-1)


def _box_layer(sums: _Sums) -> tuple[Array, Array]:
    """Return weights (36, d) and biases: one regression in strides for all places, in the units of each anchor."""
    center, middle = sums.x / sums.count, sums.y / sums.count
    covariance = sums.xy / sums.count - np.outer(center, middle)
    rule = _ridge(sums.spread(center), covariance, BOX_RIDGE)
    offset = middle - center @ rule
    sides = anchor_table(1, 1, 1)[:, 2:].astype(np.float64)  # (9, 2), in strides
    scale = SHIFT_SHARE * np.concatenate([1 / sides, np.ones_like(sides)], 1)
    origin = np.concatenate([np.zeros_like(sides), np.log(sides)], 1)
    weight = scale[:, :, None] * rule.T[None]
    return weight.reshape(-1, len(center)), (scale * (offset - origin)).reshape(-1)


def _discriminants(spread: Array, towards: Array, strength: float) -> Array:
    """Return (d, t) directions with the product 1 with their column of ``towards``; zeros stay zeros."""
    rules = _ridge(spread, towards, strength)
    length = np.einsum("ij,ij->j", rules, towards)
    scaled: Array = np.divide(rules, length, out=np.zeros_like(rules), where=length > 0)
    return scaled


def _ridge(spread: Array, right: Array, strength: float) -> Array:
    size = len(spread)
    solution: Array = np.linalg.solve(spread + strength * np.trace(spread) / size * np.eye(size), right)
    return solution


def _overlaps(anchors: Array, boxes: Array) -> Array:
    """Intersection over union of (A, 4) anchors, centre and sides, with (n, 4) boxes, x1 y1 x2 y2 → (A, n)."""
    low, high = anchors[:, None, :2] - anchors[:, None, 2:] / 2, anchors[:, None, :2] + anchors[:, None, 2:] / 2
    common = (np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2])).clip(min=0).prod(-1)
    union = anchors[:, None, 2:].prod(-1) + (boxes[:, 2:] - boxes[:, :2]).prod(-1) - common
    shares: Array = common / union
    return shares


def _windows(levels: list[Tensor], rows: Array) -> Array:
    """Return what a 3×3 convolution sees at the given places of all levels, each (1, C, h, w) → (rows, 9 · C)."""
    seen = torch.cat([functional.unfold(level, 3, padding=1)[0] for level in levels], 1)
    return seen[:, torch.from_numpy(rows)].T.numpy()


def _store(layer: nn.Conv2d, weight: Array, bias: Array) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(bias))  # type: ignore[union-attr]


def _detector(module: nn.Module) -> RetinaNet:
    if not isinstance(module, RetinaNet):
        raise UsageError("this architecture is no detector that can be fitted", "give real weights with --weights")
    return module
