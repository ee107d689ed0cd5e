"""A user's module and recipes that name networks which are not modelport's own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from modelport.recipes.toml import toml_text

NET = '''
import math
import os

import torch
from torch import nn

print("the module is loaded")  # must not mix with the result
with open(os.environ["WHO_IMPORTED"], "a") as log:
    log.write("imported")


class Net(nn.Module):
    """Keeps a buffer that no state dict holds."""

    def __init__(self, classes=10, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * 4, classes)
        self.register_buffer("scale", torch.full((width, 1, 1), 2.0), persistent=False)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))) * self.scale
        x = nn.functional.adaptive_avg_pool2d(x, 2)
        return self.fc(x.flatten(1))


class Named(Net):
    def forward(self, x):
        return {"logits": super().forward(x)}


def double():
    return Net().double()


def nothing():
    return 7


def fails():
    return math.sqrt(-1)


number = 7
'''


def write_recipe(base: Path, out: Path, architecture: str, arguments: dict[str, Any] | None = None) -> Path:
    """Write the recipe ``base`` with another network, and without weights that could be fetched."""
    content = tomllib.loads(base.read_text(encoding="utf-8"))
    for key in ("weights", "published", "speeds", "checkpoint", "links"):
        content.pop(key, None)
    content["dataset"] = {key: content["dataset"][key] for key in ("kind", "classes", "label_offset")}
    content |= {"name": "own", "model": {"architecture": architecture, "arguments": arguments or {}}}
    out.write_text(toml_text(content), encoding="utf-8")
    return out
