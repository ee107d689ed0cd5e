"""sMLPNet-T with the keys of the published checkpoint (Tang et al. 2021, arXiv:2109.05422).

Images stay NCHW but for the layer norm, so that mixing along rows and columns needs no transposed copy. Of the
equivalent forms that ``benchmarks/smlp_mixing_forms.py`` times, this one is the fastest, or within 6 % of it, on every
engine. No size is read from a tensor, so that an exported batch axis stays free.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SIZE = 224
EXPANSION = 3


class AlongRows(nn.Conv2d):
    """One linear map over the W positions of every row. (A 1×1 convolution in the checkpoint: its shape is kept.)"""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, size) → the same."""
        return F.linear(input, self.weight.squeeze(3).squeeze(2), self.bias)


class AlongColumns(nn.Conv2d):
    """One linear map over the H positions of every column. (A 1×1 convolution in the checkpoint, as for rows.)"""

    def __init__(self, size: int) -> None:
        super().__init__(size, size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, size, W) → the same."""
        assert self.bias is not None
        return torch.matmul(self.weight.squeeze(3).squeeze(2), input) + self.bias.unsqueeze(1)


class Depthwise(nn.Module):
    """Batch norm, GELU (the exact one, by erf) and a 3×3 convolution of each channel by itself, in that order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.BN = nn.BatchNorm2d(width)
        self.activation = nn.GELU()
        self.Conv = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) → the same."""
        return self.Conv(self.activation(self.BN(x)))  # type: ignore[no-any-return]


class SparseMixing(nn.Module):
    """Every position sees its own row and its own column: the paper's sparse MLP."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.activation = nn.GELU()
        self.BN = nn.BatchNorm2d(width)
        # The checkpoint's names are what they are: "h" is applied along the width, "proh_w" along the height.
        self.proj_h = AlongRows(size)
        self.proh_w = AlongColumns(size)
        self.fuse = nn.Conv2d(3 * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, size, size) → the same."""
        x = self.activation(self.BN(x))
        # One convolution of the three side by side; added up instead, nothing is copied (docs/decisions/0005).
        parts = zip((x, self.proj_h(x), self.proh_w(x)), self.fuse.weight.chunk(3, dim=1), strict=True)
        own, rows, columns = (F.conv2d(part, weight) for part, weight in parts)
        return own + rows + columns


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → the same."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Pointwise(nn.Linear):
    """A linear map over the channels of each position, run as a 1×1 convolution."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        return F.conv2d(input, self.weight[:, :, None, None], self.bias)


class FeedForward(nn.Module):
    """Two linear maps over the channels with GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.net = _numbered({0: Pointwise(width, hidden), 1: nn.GELU(), 3: Pointwise(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) → the same."""
        return self.net(x)  # type: ignore[no-any-return]


class SMLPNet(nn.Module):
    """Four stages, each halving the size and doubling the width, of blocks that mix positions and then channels."""

    def __init__(self, width: int, depths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.depths = depths
        self.to_patch_embedding = nn.ModuleList()
        self.token_mix = nn.ModuleList()
        self.channel_mix = nn.ModuleList()
        inputs, size, patch = 3, IMAGE_SIZE, 4
        for depth in depths:
            size //= patch
            self.to_patch_embedding.append(nn.Sequential(nn.Conv2d(inputs, width, patch, patch, bias=False)))
            for _ in range(depth):
                depthwise = nn.Sequential(OrderedDict(conv_merge=Depthwise(width)))
                self.token_mix.append(nn.Sequential(depthwise, SparseMixing(width, size)))
                self.channel_mix.append(_numbered({1: ChannelNorm(width), 2: FeedForward(width)}))
            inputs, width, patch = width, 2 * width, 2
        self.batch_norm = nn.BatchNorm2d(inputs)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mlp_head = nn.Sequential(nn.Linear(inputs, classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 224, 224) float32, normalised → (N, classes) logits."""
        blocks = zip(self.token_mix, self.channel_mix, strict=True)
        for embedding, depth in zip(self.to_patch_embedding, self.depths, strict=True):
            x = embedding(x)
            for mix_tokens, mix_channels in islice(blocks, depth):
                x = x + mix_tokens(x)
                x = x + mix_channels(x)
        return self.mlp_head(self.pool(self.batch_norm(x)).flatten(1))  # type: ignore[no-any-return]


def smlpnet_tiny(classes: int) -> SMLPNet:
    """sMLPNet-T, for images of 224×224 only: the maps along rows and columns have their size built in."""
    return SMLPNet(80, (2, 8, 14, 2), classes)


def _numbered(layers: dict[int, nn.Module]) -> nn.Sequential:
    """Layers in order under the checkpoint's numbers, which also counted rearrangements and dropout."""
    return nn.Sequential(OrderedDict((str(number), layer) for number, layer in layers.items()))
