"""modelport carries a trained vision model to the device it will run on, and proves that it arrived intact.

The names below are the Python interface, loaded when they are asked for; see ``docs/api.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelport.engines.privacy import keep_silent

if TYPE_CHECKING:
    from modelport.api import (
        Model,
        answer,
        batches,
        build,
        export,
        judge,
        load_recipe,
        open_dataset,
        open_model,
        random_weights,
        source,
        trust_code,
        verify,
    )
    from modelport.core.errors import ModelportError
    from modelport.jobs.doctor import doctor
    from modelport.recipes.schema import Recipe
    from modelport.report.result import Result, environment
    from modelport.stages.plan import Wish

__version__ = "0.1.0"
__all__ = [
    "Model",
    "ModelportError",
    "Recipe",
    "Result",
    "Wish",
    "__version__",
    "answer",
    "batches",
    "build",
    "doctor",
    "environment",
    "export",
    "judge",
    "load_recipe",
    "open_dataset",
    "open_model",
    "random_weights",
    "source",
    "trust_code",
    "verify",
]

_HOMES = {
    "ModelportError": "core.errors",
    "Recipe": "recipes.schema",
    "Result": "report.result",
    "Wish": "stages.plan",
    "doctor": "jobs.doctor",
    "environment": "report.result",
}

keep_silent()


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: ``import modelport`` alone loads nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'modelport' has no attribute '{name}'")
    return getattr(import_module(f"modelport.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
