"""The networks, one file each, with the keys of the published checkpoints.

To add one, write its file and its line in ``ARCHITECTURES``; a recipe then names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from modelport.core.errors import RecipeError, unknown
from modelport.recipes.tables import Model

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = {
    "resnet18": "modelport.model.architectures.resnet:resnet18",
    "resnet50": "modelport.model.architectures.resnet:resnet50",
    "simclr_resnet18": "modelport.model.architectures.simclr:SimCLR",
    "inception_v4": "modelport.model.architectures.inception_v4:InceptionV4",
    "smlpnet_tiny": "modelport.model.architectures.smlpnet:smlpnet_tiny",
    "retinanet_r50_nasfpn": "modelport.model.architectures.retinanet_nasfpn:RetinaNet",
}


def build_empty(model: Model) -> nn.Module:
    """Return the network without any weights (on the meta device), in evaluation mode.

    Nothing can run before every tensor has been loaded. Raises RecipeError for an unknown name or argument.
    """
    import torch

    builder = _builder(model)
    with torch.device("meta"):
        return builder(**model.arguments).eval()


def build_random(model: Model, seed: int) -> nn.Module:
    """Return the network with PyTorch's own random initialisation, for making sample weights."""
    import torch

    builder = _builder(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return builder(**model.arguments).eval()


def _builder(model: Model) -> Callable[..., nn.Module]:
    if model.architecture not in ARCHITECTURES:
        raise RecipeError(
            f"no architecture named '{model.architecture}'", unknown("architectures", model.architecture, ARCHITECTURES)
        )
    builder: Callable[..., nn.Module] = resolve_name(ARCHITECTURES[model.architecture])
    try:
        inspect.signature(builder).bind(**model.arguments)
    except TypeError as error:
        takes = ", ".join(inspect.signature(builder).parameters)
        raise RecipeError(f"model.arguments of '{model.architecture}': {error}", f"it takes: {takes}") from error
    return builder
