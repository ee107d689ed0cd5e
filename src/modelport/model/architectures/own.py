"""A network of the user's own: ``pkg.module:function``, imported where the user trusts it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.artifacts import digest_file, digest_json
from modelport.core.errors import RecipeError, did_you_mean
from modelport.core.text import plain
from modelport.core.trust import check_trusted
from modelport.model.architectures.torchvision_ops import declare_operators
from modelport.recipes.tables import Model

if TYPE_CHECKING:
    from torch import nn

# Folders of installed packages.
INSTALLED = {"site-packages", "dist-packages"}
FORM = 'write architecture = "pkg.module:function", a function or class that returns an nn.Module'


def is_own(architecture: str) -> bool:
    """Whether an architecture is a function or class of the user's own."""
    library, colon, _ = architecture.partition(":")
    return bool(colon) and library not in ("timm", "torchvision")


def own_builder(model: Model) -> Callable[..., Any]:
    """Return the user's function or class.

    Raises UsageError where the user does not trust the module, RecipeError where it cannot be imported, or holds no
    such function, or one that takes other arguments than the recipe's.
    """
    name, _, attribute = model.architecture.partition(":")
    if not all(part.isidentifier() for part in (*name.split("."), *attribute.split("."))):
        raise RecipeError(f'architecture = "{plain(model.architecture, 200)}" names no function of a module', FORM)
    check_trusted(name, model.architecture)
    found: Any = _imported(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [known for known in dir(found) if not known.startswith("_")])
            raise RecipeError(f"the module {name} ({_file_of(name)}) has no '{attribute}'", f"{near}{FORM}")
        found = getattr(found, part)
    if not callable(found):
        raise RecipeError(f"{model.architecture} is a {type(found).__name__}, which cannot be called", FORM)
    _check_arguments(found, model)
    return found  # type: ignore[no-any-return]


def built_own(model: Model) -> nn.Module:
    """Return the network as the user's function returns it. Raises RecipeError where it is no float32 nn.Module."""
    from torch import nn

    builder = own_builder(model)
    with _calls_of_the_user(f"{model.architecture} failed"):
        network = builder(**model.arguments)
    if not isinstance(network, nn.Module):
        raise RecipeError(f"{model.architecture} returns a {type(network).__name__}, no nn.Module", FORM)
    _check_tensors(network, model.architecture)
    return network


def code_of(model: Model, network: nn.Module) -> str:
    """Return one digest of the code that a user's network runs: what is kept of its answers hangs on it.

    It covers every loaded module that lies beside the user's own and belongs to no installed package, and the packages
    of its layers, PyTorch's own apart.
    """
    name = model.architecture.partition(":")[0]
    tops = {name.partition(".")[0], *(type(part).__module__.partition(".")[0] for part in network.modules())}
    folder, files = _folder_of(name), set[Path]()
    for module, loaded in list(sys.modules.items()):
        file = Path(getattr(loaded, "__file__", None) or "").absolute()
        beside = folder in file.parents and not INSTALLED & set(file.parts)
        if (module.partition(".")[0] in tops - {"torch"} or beside) and file.is_file():
            files.add(file)
    return digest_json([model.architecture, *sorted(map(digest_file, files))])


def _imported(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last: a file there hides no installed package
    importlib.invalidate_caches()
    declare_operators()  # it may import torchvision
    try:
        with _calls_of_the_user(f"the module '{name}' cannot be imported"):
            return importlib.import_module(name)
    except RecipeError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{name}.".startswith(f"{cause.name}."):
            raise RecipeError(
                f"there is no module '{cause.name}' on Python's path (sys.path) or in the current folder {here}",
                "run in the folder that holds it, or set PYTHONPATH; the recipe's own folder is not searched",
            ) from cause
        raise


@contextlib.contextmanager
def _calls_of_the_user(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one RecipeError; what it prints does not mix with the result."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except RecipeError:
        raise
    except (Exception, SystemExit) as error:
        told = plain(f"{type(error).__name__}: {error}", 300)
        raise RecipeError(f"{what}: {told}", f"mend the code{_place_of(error)}, or the arguments in [model]") from error


def _place_of(error: BaseException) -> str:
    """Return the last line of the user's own files in a traceback, for people."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "modelport" not in Path(file).parts and not file.startswith("<"):
            place = f" at {file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _check_arguments(builder: Callable[..., Any], model: Model) -> None:
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):
        return  # written in C: calling it says what it takes
    try:
        signature.bind(**model.arguments)
    except TypeError as error:
        takes = ", ".join(map(str, signature.parameters.values())) or "nothing"
        raise RecipeError(f"model.arguments of {model.architecture}: {error}", f"it takes: {takes}") from error


def _check_tensors(network: nn.Module, architecture: str) -> None:
    tensors = [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]
    others = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors} - {"float32"}
    if others:
        raise RecipeError(
            f"{architecture} returns a network in {', '.join(sorted(others))}: the source runs in float32",
            "return network.float(); another precision is what --precision asks for",
        )


def _file_of(name: str) -> str:
    return str(getattr(sys.modules[name], "__file__", None) or "no file")


def _folder_of(name: str) -> Path | None:
    """Return the folder from which a module's outermost package was imported."""
    top = sys.modules[name.partition(".")[0]]
    if places := list(getattr(top, "__path__", ())):
        return Path(places[0]).absolute().parent
    file = getattr(top, "__file__", None)
    return Path(file).absolute().parent if file else None
