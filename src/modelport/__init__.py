"""modelport carries a trained vision model to the device it will run on, and proves that it arrived intact.

The names below are the Python interface, loaded when they are asked for; see ``docs/api.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelport.engines.privacy import keep_silent

if TYPE_CHECKING:
    from modelport.api import answer, build, export, judge, load_recipe, open_dataset, source, trust_code
    from modelport.core.errors import ModelportError
    from modelport.recipes.schema import Recipe
    from modelport.report.result import Result
    from modelport.stages.plan import Wish

__version__ = "0.1.0"
__all__ = [
    "ModelportError",
    "Recipe",
    "Result",
    "Wish",
    "__version__",
    "answer",
    "build",
    "export",
    "judge",
    "load_recipe",
    "open_dataset",
    "source",
    "trust_code",
]

_HOMES = {
    "ModelportError": "core.errors",
    "Recipe": "recipes.schema",
    "Result": "report.result",
    "Wish": "stages.plan",
}

keep_silent()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: ``import modelport`` alone loads nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'modelport' has no attribute '{name}'")
    return getattr(import_module(f"modelport.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
