"""Networks of timm and torchvision by the libraries' own names, without their weights: nothing is downloaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from modelport.core.errors import RecipeError, did_you_mean
from modelport.core.text import listed, plain
from modelport.model.architectures.torchvision_ops import declare_operators
from modelport.recipes.tables import Model

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("timm", "torchvision")


def of_library(architecture: str) -> bool:
    """Whether an architecture is ``timm:NAME`` or ``torchvision:NAME``."""
    library, colon, _ = architecture.partition(":")
    return bool(colon) and library in LIBRARIES


def library(name: str) -> Any:
    """Return timm or torchvision, imported. Raises RecipeError with the extra to install where it is missing."""
    try:
        version(name)
    except PackageNotFoundError as error:
        raise RecipeError(
            f"the package {name} is not installed, of which the network is", f"pip install 'modelport[{name}]'"
        ) from error
    try:
        # timm imports torchvision.
        declare_operators()
        return import_module("torchvision.models" if name == "torchvision" else name)
    except (ImportError, RuntimeError) as error:
        raise RecipeError(
            f"the package {name} cannot be imported: {plain(error, 300)}",
            f"install it for this PyTorch: pip install 'modelport[{name}]'",
        ) from error


def built_of_library(model: Model) -> nn.Module:
    """Return the network with random weights. Raises RecipeError for a name that the library does not know."""
    source, _, name = model.architecture.partition(":")
    check_name(source, name)
    build = _timm if source == "timm" else _torchvision
    try:
        network: nn.Module = build(name, **model.arguments)
    except Exception as error:
        # The libraries pass arguments on to constructors that raise whatever they like.
        raise RecipeError(
            f"model.arguments of {model.architecture}: {plain(f'{type(error).__name__}: {error}', 300)}",
            f"give what {source} takes for {name}",
        ) from error
    return network


def code_of_library(architecture: str) -> str:
    """Return what, beside the weights, decides a network's answers: the library and its version."""
    name = architecture.partition(":")[0]
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return name


def check_name(source: str, name: str) -> None:
    """Raise RecipeError unless timm or torchvision has a network of that name; timm's may carry a tag of weights."""
    found = library(source)
    base, _, tag = name.partition(".")
    names = found.list_models()
    if name in names:
        return
    if source != "timm" or base not in names:
        raise _unknown(source, base if source == "timm" else name, names)
    tags = [known for known in found.list_pretrained(base) if known.partition(".")[2]]
    if tag and name not in tags:
        raise _unknown(source, name, tags or [base])


def _timm(name: str, **arguments: Any) -> nn.Module:
    network: nn.Module = library("timm").create_model(name, pretrained=False, **arguments)
    return network


def _torchvision(name: str, **arguments: Any) -> nn.Module:
    models = library("torchvision")
    takes = inspect.signature(models.get_model_builder(name)).parameters
    # A backbone's default is weights that would be downloaded.
    absent: dict[str, Any] = {option: None for option in ("weights", "weights_backbone") if option in takes}
    if name in ("googlenet", "inception_v3"):
        # Their published weights go with it: torchvision itself sets both where it loads them.
        absent |= {"transform_input": True, "init_weights": False}
    network: nn.Module = models.get_model(name, **(absent | arguments))
    return network


def _unknown(source: str, name: str, known: Iterable[str]) -> RecipeError:
    names = sorted(known)
    near = did_you_mean(name, names)
    alike = listed([other for other in names if other.startswith(name[:4])], 8)
    return RecipeError(
        f"{source} has no network '{plain(name, 100)}'",
        f"{near}{source} names {len(names)}" + (f", of which begin alike: {alike}" if alike else ""),
    )
