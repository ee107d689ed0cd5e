"""RetinaNet with ResNet-50, NAS-FPN and separate batch norms, mmdetection's ``retinanet_r50_nasfpn_crop640_50e_coco``.

Focal loss and the anchor head: arXiv:1708.02002. The neck: arXiv:1904.07392. The keys are mmdetection's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelport.core.errors import SignatureError
from modelport.core.values import Array
from modelport.model.architectures.resnet import Bottleneck, ResNet

STRIDES = (8, 16, 32, 64, 128)  # of P3 to P7
WIDTH = 256
STAGES = 7
HEAD_DEPTH = 4
OCTAVE_BASE, OCTAVE_SCALES = 4, 3
RATIOS = (0.5, 1.0, 2.0)  # height over width
ANCHORS = OCTAVE_SCALES * len(RATIOS)  # per place
# Anchors of one level that go on to the suppression, those with the best class score.
KEPT_PER_LEVEL = 1000
# A box may be at most 1000 / 16 times as wide or high as its anchor.
LARGEST_LOG_RATIO = math.log(1000 / 16)
PRIOR = 0.01

Levels = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class RetinaNet(nn.Module):
    """Image to candidate boxes with a score per class; the suppression of doubles is no part of it."""

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = NasFpn((512, 1024, 2048), WIDTH)
        self.bbox_head = SepBnHead(classes, WIDTH)
        self.classes = classes

    def heads(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(N, 3, H, W) → per level (N, 9 · classes, h, w) class logits and (N, 36, h, w) box deltas."""
        outputs: tuple[list[Tensor], list[Tensor]] = self.bbox_head(self.neck(self.backbone.levels(x)))
        return outputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) float32, normalised → boxes (N, K, 4), scores (N, K, classes).

        Boxes are x1 y1 x2 y2 in pixels of the input, clipped to it; scores are probabilities. K counts the best
        1000 anchors of every level (all where it has fewer), P3 first: 4125 for 640×640. Within a level that was
        cut they stand by falling best score, else in the anchors' order. H and W must be multiples of 128.
        """
        # Plain integers: sizes that reach an exporter as tensors would make every shape behind them unknown.
        size = int(x.shape[-2]), int(x.shape[-1])
        if size[0] % STRIDES[-1] or size[1] % STRIDES[-1]:
            raise SignatureError(
                f"the detector got an image of {size[0]}×{size[1]}", f"pad both sides to a multiple of {STRIDES[-1]}"
            )
        logits, deltas = self.heads(x)
        found = [self._candidates(*level, size) for level in zip(logits, deltas, STRIDES, strict=True)]
        return torch.cat([boxes for boxes, _ in found], 1), torch.cat([scores for _, scores in found], 1)

    def _candidates(self, logits: Tensor, deltas: Tensor, stride: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """One level's best anchors: boxes (N, k, 4) and scores (N, k, classes)."""
        height, width = size
        anchors = torch.from_numpy(anchor_table(height // stride, width // stride, stride))
        logits = logits.permute(0, 2, 3, 1).reshape(-1, len(anchors), self.classes)
        deltas = deltas.permute(0, 2, 3, 1).reshape(-1, len(anchors), 4)
        if len(anchors) > KEPT_PER_LEVEL:
            # The sigmoid keeps the order, so it is left for the few that stay; so is the decoding.
            best = logits.amax(-1).topk(KEPT_PER_LEVEL).indices
            logits, deltas, anchors = _rows(logits, best, self.classes), _rows(deltas, best, 4), anchors[best]
        return decode(anchors, deltas, size), logits.sigmoid()


class Backbone(ResNet):
    """ResNet-50 without its classifier."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, (3, 4, 6, 3), classes=1)
        self.fc = nn.Identity()

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) → C3, C4, C5: (N, 512, H / 8, W / 8), (N, 1024, H / 16, W / 16), (N, 2048, H / 32, W / 32)."""
        c3 = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


class ConvNorm(nn.Module):
    """A convolution of stride 1 and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h, w)."""
        return self.bn(self.conv(x))  # type: ignore[no-any-return]


class Merged(nn.Module):
    """What follows a merging of two levels; the convolution has a bias though a batch norm follows it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = ConvNorm(width, width, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) → the same shape."""
        return self.out_conv(functional.relu(x))  # type: ignore[no-any-return]


class NasFpnStage(nn.Module):
    """One round of the merging that the search found (figure 6 of the paper).

    A name tells the operation (``sum``, or ``gp`` with global pooling), the two levels it reads and the one it makes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gp_64_4 = Merged(width)
        self.sum_44_4 = Merged(width)
        self.sum_43_3 = Merged(width)
        self.sum_34_4 = Merged(width)
        self.sum_55_5 = Merged(width)
        self.sum_77_7 = Merged(width)
        self.gp_75_6 = Merged(width)

    def forward(self, levels: Levels) -> Levels:
        """P3 to P7, each (N, width, H / stride, W / stride) → the same shapes."""
        p3, p4, p5, p6, p7 = levels
        inner = self.gp_64_4(_attend(_resize(p6, 6, 4), p4))
        inner = self.sum_44_4(inner + p4)
        p3 = self.sum_43_3(_resize(inner, 4, 3) + p3)
        p4 = self.sum_34_4(_resize(p3, 3, 4) + inner)
        p5 = self.sum_55_5(p5 + _attend(_resize(p4, 4, 5), _resize(p3, 3, 5)))
        p7 = self.sum_77_7(p7 + _attend(_resize(p5, 5, 7), _resize(inner, 4, 7)))
        p6 = self.gp_75_6(_attend(_resize(p7, 7, 6), _resize(p5, 5, 6)))
        return p3, p4, p5, p6, p7


class NasFpn(nn.Module):
    """C3 to C5 brought to one width, P6 and P7 made from P5, then the stages."""

    def __init__(self, inputs: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvNorm(channels, width, 1) for channels in inputs)
        self.extra_downsamples = nn.ModuleList(
            nn.Sequential(ConvNorm(width, width, 1), nn.MaxPool2d(2)) for _ in range(2)
        )
        self.fpn_stages = nn.ModuleList(NasFpnStage(width) for _ in range(STAGES))

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Levels:
        """C3, C4, C5 → P3 to P7, each (N, width, H / stride, W / stride)."""
        p3, p4, p5 = (conv(x) for conv, x in zip(self.lateral_convs, features, strict=True))
        p6 = self.extra_downsamples[0](p5)
        levels: Levels = (p3, p4, p5, p6, self.extra_downsamples[1](p6))
        for stage in self.fpn_stages:
            levels = stage(levels)
        return levels


class SepBnHead(nn.Module):
    """The head of all levels: its convolutions are shared between them, its batch norms are not."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.cls_convs = _towers(width)
        self.reg_convs = _towers(width)
        self.retina_cls = nn.Conv2d(width, ANCHORS * classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(width, ANCHORS * 4, 3, padding=1)
        # Before any training a class has this probability everywhere (section 4.1 of the focal loss paper).
        nn.init.constant_(self.retina_cls.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]

    def forward(self, levels: Levels) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (N, width, h, w) → (N, 9 · classes, h, w) logits and (N, 36, h, w) deltas."""
        logits = [self.retina_cls(_climb(tower, x)) for tower, x in zip(self.cls_convs, levels, strict=True)]
        deltas = [self.retina_reg(_climb(tower, x)) for tower, x in zip(self.reg_convs, levels, strict=True)]
        return logits, deltas


def anchor_table(rows: int, columns: int, stride: int) -> Array:
    """Return the anchors of a level as (rows · columns · 9, 4) float32: centre x, centre y, width, height.

    Row by row, in a place by ratio, then by scale. The centre of place (0, 0) is the image's corner, not half a stride.
    """
    scales = OCTAVE_BASE * stride * 2.0 ** (np.arange(OCTAVE_SCALES) / OCTAVE_SCALES)
    tall = np.sqrt(np.array(RATIOS))[:, None]
    table = np.empty((rows, columns, len(RATIOS), OCTAVE_SCALES, 4))
    table[..., 0] = (np.arange(columns) * stride)[None, :, None, None]
    table[..., 1] = (np.arange(rows) * stride)[:, None, None, None]
    table[..., 2], table[..., 3] = scales / tall, scales * tall
    return table.reshape(-1, 4).astype(np.float32)


def decode(anchors: Tensor, deltas: Tensor, size: tuple[int, int]) -> Tensor:
    """(…, 4) anchors (centre, width, height) and (…, 4) deltas → x1 y1 x2 y2, clipped to ``size`` (height, width)."""
    height, width = size
    centre = anchors[..., :2] + deltas[..., :2] * anchors[..., 2:]
    half = 0.5 * anchors[..., 2:] * deltas[..., 2:].clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
    corners = torch.cat([centre - half, centre + half], -1)
    return corners.clamp(min=0).minimum(torch.tensor([width, height, width, height], dtype=corners.dtype))


def _rows(x: Tensor, rows: Tensor, width: int) -> Tensor:
    """(N, A, width) and row numbers (N, k) → (N, k, width)."""
    # Adding zeros widens the numbers in one operator of known shape; expand becomes five whose shape is unknown.
    return x.gather(1, rows.unsqueeze(-1) + torch.zeros(width, dtype=torch.int64))


def _attend(x: Tensor, gate: Tensor) -> Tensor:
    """Merge with global pooling: ``gate`` plus ``x`` weighted by what ``gate`` holds on average, channel by channel."""
    return gate + functional.adaptive_avg_pool2d(gate, 1).sigmoid() * x


def _resize(x: Tensor, level: int, wanted: int) -> Tensor:
    """Bring a level to another's size: nearest neighbour upwards, maximum downwards."""
    if wanted < level:
        return functional.interpolate(x, scale_factor=float(2 ** (level - wanted)), mode="nearest")
    return functional.max_pool2d(x, 2 ** (wanted - level))


def _towers(width: int) -> nn.ModuleList:
    towers = [nn.ModuleList(ConvNorm(width, width, 3) for _ in range(HEAD_DEPTH)) for _ in STRIDES]
    for tower in towers[1:]:
        for part, first in zip(tower, towers[0], strict=True):
            part.conv = first.conv
    return nn.ModuleList(towers)


def _climb(tower: nn.Module, x: Tensor) -> Tensor:
    for part in tower.children():
        x = functional.relu(part(x))
    return x
