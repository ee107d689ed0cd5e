"""A recipe of a small segmentation network, and masks that hold arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array

NET = '''
import torch
from torch import nn


def conv(inputs, width):
    return nn.Sequential(nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class Net(nn.Module):
    """Scores at a quarter of the input's size, of two convolutions side by side."""

    def __init__(self, classes=5, width=16):
        super().__init__()
        self.stem, self.body = conv(3, width), conv(width, width)
        self.head = nn.Conv2d(2 * width, classes, 1)

    def forward(self, x):
        x = self.stem(x)
        return {"out": self.head(torch.cat([nn.functional.avg_pool2d(x, 2), self.body(x)], 1))}


class Numbers(Net):
    def forward(self, x):
        return super().forward(x)["out"].argmax(1)
'''

RECIPE = """
schema = "modelport.recipe/1"
name = "segmenter"
task = "segmentation"
metrics = ["miou", "pixel_accuracy"]
model.architecture = "zoo:Net"
tensors.inputs = [{ name = "input", dtype = "float32", shape = ["batch", 3, 48, 64] }]
tensors.outputs = [{ name = "scores", dtype = "float32", shape = ["batch", 5, 12, 16] }]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 64, height = 48, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] },
]
dataset.kind = "masks"
dataset.classes = 5
dataset.names = ["background", "car", "stop sign", "umbrella", "banana"]
"""


@dataclass(frozen=True)
class Held:
    """A mask that is there already."""

    values: Array
    path: Path = Path("masks/one.png")

    def read(self) -> NDArray[Any]:
        return self.values.astype(np.uint16)
