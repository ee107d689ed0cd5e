"""Tables of a recipe that one engine alone reads: each is checked by the engine whose name it has.

Recipes stand below the engines, so the engines' tables stand here by name and are looked up when a recipe is read.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import InitErrorDetails

# Returns the form of each table, by its name in a recipe.
TABLES = "modelport.engines.registry:recipe_tables"
# The recipe's field that holds them; no key of a recipe file.
FIELD = "engines"


def forms() -> dict[str, type[BaseModel]]:
    """Return the form of each engine's table, by its name in a recipe."""
    known: dict[str, type[BaseModel]] = resolve_name(TABLES)()
    return known


def set_apart(content: Any) -> Any:
    """Return a recipe's values with the engines' tables under ``FIELD``. Raises ValidationError for such a key."""
    if not isinstance(content, dict):
        return content
    if FIELD in content:
        slip = InitErrorDetails(type="extra_forbidden", loc=(FIELD,), input=content[FIELD])
        raise ValidationError.from_exception_data("Recipe", [slip])
    own = {name: content[name] for name in forms() if name in content}
    return {name: value for name, value in content.items() if name not in own} | {FIELD: own}


def read(tables: dict[str, Any]) -> dict[str, BaseModel]:
    """Return the tables as their engines know them. Raises ValidationError with the place of each slip."""
    known = forms()
    fields: dict[str, Any] = {name: (known[name], ...) for name in tables}
    checked = create_model("EngineTables", **fields).model_validate(tables, strict=True)
    return {name: getattr(checked, name) for name in tables}


def put_back(whole: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's values with the engines' tables under their own names, where ``FIELD`` stood."""
    flat: dict[str, Any] = {}
    for name, value in whole.items():
        flat |= value if name == FIELD else {name: value}
    return flat
