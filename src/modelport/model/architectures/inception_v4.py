"""Inception-v4 with the keys of the published PyTorch checkpoint (Szegedy et al. 2016, arXiv:1602.07261).

The checkpoint was converted from TensorFlow, hence batch norm's epsilon of 0.001, average pools that leave the padding
out of the count, and 1001 classes of which the first is the background.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

TENSORFLOW_EPSILON = 1e-3
Kernel = int | tuple[int, int]


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm and ReLU; ``same`` pads so that a stride of 1 keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, *, same: bool = False) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        # Numbers, not padding="same": the exporters write numbers into the graph for every opset.
        padding = (height // 2, width // 2) if same else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=TENSORFLOW_EPSILON)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        return self.relu(self.bn(self.conv(x)))  # type: ignore[no-any-return]


class Parallel(nn.Module):
    """Branches under their names, all on the same input, their channels joined in the order given."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, sum of the branches' channels, H', W')."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class InceptionC(nn.Module):
    """The 8×8 block. Two of its branches fork once more, so each of their convolutions has a key of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = ConvNorm(1536, 256, 1)
        self.branch1_0 = ConvNorm(1536, 384, 1)
        self.branch1_1a = ConvNorm(384, 256, (1, 3), same=True)
        self.branch1_1b = ConvNorm(384, 256, (3, 1), same=True)
        self.branch2_0 = ConvNorm(1536, 384, 1)
        self.branch2_1 = ConvNorm(384, 448, (3, 1), same=True)
        self.branch2_2 = ConvNorm(448, 512, (1, 3), same=True)
        self.branch2_3a = ConvNorm(512, 256, (1, 3), same=True)
        self.branch2_3b = ConvNorm(512, 256, (3, 1), same=True)
        self.branch3 = nn.Sequential(_average_pool(), ConvNorm(1536, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1536, H, W) → (N, 1536, H, W)."""
        short = self.branch1_0(x)
        long = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        parts = [
            self.branch0(x),
            self.branch1_1a(short),
            self.branch1_1b(short),
            self.branch2_3a(long),
            self.branch2_3b(long),
            self.branch3(x),
        ]
        return torch.cat(parts, dim=1)


class InceptionV4(nn.Module):
    """The network; ``last_linear`` gets the mean of what ``features`` gives. The published one has 1001 classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stem(),
            *(_inception_a() for _ in range(4)),
            _reduction_a(),
            *(_inception_b() for _ in range(7)),
            _reduction_b(),
            *(InceptionC() for _ in range(3)),
        )
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.last_linear = nn.Linear(1536, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 299, 299) float32, normalised → (N, classes) logits."""
        return self.last_linear(self.avg_pool(self.features(x)).flatten(1))  # type: ignore[no-any-return]


def _average_pool() -> nn.Module:
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def _stem() -> list[nn.Module]:
    """(N, 3, 299, 299) → (N, 384, 35, 35)."""
    return [
        ConvNorm(3, 32, 3, stride=2),
        ConvNorm(32, 32, 3),
        ConvNorm(32, 64, 3, same=True),
        Parallel(maxpool=nn.MaxPool2d(3, stride=2), conv=ConvNorm(64, 96, 3, stride=2)),
        Parallel(
            branch0=nn.Sequential(ConvNorm(160, 64, 1), ConvNorm(64, 96, 3)),
            branch1=nn.Sequential(
                ConvNorm(160, 64, 1),
                ConvNorm(64, 64, (1, 7), same=True),
                ConvNorm(64, 64, (7, 1), same=True),
                ConvNorm(64, 96, 3),
            ),
        ),
        Parallel(conv=ConvNorm(192, 192, 3, stride=2), maxpool=nn.MaxPool2d(3, stride=2)),
    ]


def _inception_a() -> nn.Module:
    """(N, 384, 35, 35) → the same."""
    return Parallel(
        branch0=ConvNorm(384, 96, 1),
        branch1=nn.Sequential(ConvNorm(384, 64, 1), ConvNorm(64, 96, 3, same=True)),
        branch2=nn.Sequential(ConvNorm(384, 64, 1), ConvNorm(64, 96, 3, same=True), ConvNorm(96, 96, 3, same=True)),
        branch3=nn.Sequential(_average_pool(), ConvNorm(384, 96, 1)),
    )


def _reduction_a() -> nn.Module:
    """(N, 384, 35, 35) → (N, 1024, 17, 17)."""
    return Parallel(
        branch0=ConvNorm(384, 384, 3, stride=2),
        branch1=nn.Sequential(ConvNorm(384, 192, 1), ConvNorm(192, 224, 3, same=True), ConvNorm(224, 256, 3, stride=2)),
        branch2=nn.MaxPool2d(3, stride=2),
    )


def _inception_b() -> nn.Module:
    """(N, 1024, 17, 17) → the same."""
    return Parallel(
        branch0=ConvNorm(1024, 384, 1),
        branch1=nn.Sequential(
            ConvNorm(1024, 192, 1), ConvNorm(192, 224, (1, 7), same=True), ConvNorm(224, 256, (7, 1), same=True)
        ),
        branch2=nn.Sequential(
            ConvNorm(1024, 192, 1),
            ConvNorm(192, 192, (7, 1), same=True),
            ConvNorm(192, 224, (1, 7), same=True),
            ConvNorm(224, 224, (7, 1), same=True),
            ConvNorm(224, 256, (1, 7), same=True),
        ),
        branch3=nn.Sequential(_average_pool(), ConvNorm(1024, 128, 1)),
    )


def _reduction_b() -> nn.Module:
    """(N, 1024, 17, 17) → (N, 1536, 8, 8)."""
    return Parallel(
        branch0=nn.Sequential(ConvNorm(1024, 192, 1), ConvNorm(192, 192, 3, stride=2)),
        branch1=nn.Sequential(
            ConvNorm(1024, 256, 1),
            ConvNorm(256, 256, (1, 7), same=True),
            ConvNorm(256, 320, (7, 1), same=True),
            ConvNorm(320, 320, 3, stride=2),
        ),
        branch2=nn.MaxPool2d(3, stride=2),
    )
