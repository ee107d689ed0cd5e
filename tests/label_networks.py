"""Tiny networks of a user's own, for tasks whose labels are no single class; recipes name them label_networks:NAME."""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Module):
    """Random features of a picture's parts, and a last layer to be fitted."""

    def __init__(self, outputs: int, width: int = 24) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((3, 4)),
        )
        self.head = nn.Linear(width * 12, outputs)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.head(self.features(image).flatten(1))
        return answers


class Reader(nn.Module):
    """Random features of a grey line of text, column by column, and a last layer that answers a character for each."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 16 * width, (4, 5), padding=(0, 2)),
            nn.BatchNorm2d(16 * width),
            nn.ReLU(),
        )
        self.head = nn.Linear(16 * width, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        columns = self.features(image).squeeze(2).transpose(1, 2)  # (N, T, features)
        answers: torch.Tensor = self.head(columns)
        return answers
