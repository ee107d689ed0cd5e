"""The networks, one file each, with the keys of the published checkpoints; and those of libraries and of users.

To add one, write its file and its line in ``ARCHITECTURES``; a recipe then names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from modelport.core.errors import RecipeError, unknown
from modelport.model.architectures.libraries import built_of_library, code_of_library, of_library
from modelport.model.architectures.own import built_own, code_of, is_own
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


# Random weights are the same each time, also those that a file does not replace.
SEED = 0


def build_network(model: Model) -> nn.Module:
    """Return the network to put weights into, in evaluation mode.

    Ours have no values yet (they are on the meta device): nothing can run before every tensor has been loaded. Others
    are built for real, under a fixed seed: what a constructor computes and no state dict keeps would be lost. Raises
    RecipeError for an unknown name or argument, UsageError for a module that the user does not trust.
    """
    import torch

    if model.architecture not in ARCHITECTURES:
        return build_random(model, SEED)
    builder = _builder(model)
    with torch.device("meta"):
        return builder(**model.arguments).eval()


def build_random(model: Model, seed: int) -> nn.Module:
    """Return the network with random weights, in evaluation mode. Raises as ``build_network``."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_own(model.architecture):
            return built_own(model).eval()
        if of_library(model.architecture):
            return built_of_library(model).eval()
        return _builder(model)(**model.arguments).eval()


def code_behind(model: Model, network: nn.Module | None = None) -> str:
    """Return what, beside recipe, weights and modelport itself, decides a network's answers; empty for ours.

    A user's own network must have been built: what is kept of its answers hangs on the code that was loaded for it.
    """
    if of_library(model.architecture):
        return code_of_library(model.architecture)
    return code_of(model, network) if is_own(model.architecture) and network is not None else ""


def _builder(model: Model) -> Callable[..., nn.Module]:
    if model.architecture not in ARCHITECTURES:
        known = unknown("architectures", model.architecture, ARCHITECTURES)
        raise RecipeError(
            f"no architecture named '{model.architecture}'",
            f"{known}; timm:NAME, torchvision:NAME, or pkg.module:function for a network of your own",
        )
    builder: Callable[..., nn.Module] = resolve_name(ARCHITECTURES[model.architecture])
    try:
        inspect.signature(builder).bind(**model.arguments)
    except TypeError as error:
        takes = ", ".join(inspect.signature(builder).parameters)
        raise RecipeError(f"model.arguments of '{model.architecture}': {error}", f"it takes: {takes}") from error
    return builder
