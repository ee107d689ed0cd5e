"""SimCLR's ResNet-18 with its projection head (Chen et al. 2020, arXiv:2002.05709), keys as published."""

from __future__ import annotations

from torch import Tensor, nn

from modelport.model.architectures.resnet import resnet18


class SimCLR(nn.Module):
    """A backbone whose last layer is the two-layer head that the contrastive loss looks at.

    Its first layers are those of ImageNet's (7×7, stride 2, pooled) also for 32×32 images.
    """

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        self.backbone = resnet18(features)
        width = 512
        self.backbone.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 32, 32) float32 in [0, 1] → (N, features), not normalised."""
        return self.backbone(x)  # type: ignore[no-any-return]
