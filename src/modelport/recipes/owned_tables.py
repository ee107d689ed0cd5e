"""Tables of a recipe that one engine or one task alone reads: each is checked by the one whose name it has.

Recipes stand below engines and tasks, so their tables stand here by name and are looked up when a recipe is read.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import InitErrorDetails

# Each returns the forms of tables, by their names in a recipe.
TABLES = ("modelport.engines.registry:recipe_tables", "modelport.tasks.table:recipe_tables")
# The recipe's field that holds them; no key of a recipe file.
FIELD = "tables"


def forms() -> dict[str, type[BaseModel]]:
    """Return the form of each table, by its name in a recipe."""
    return {name: form for provider in TABLES for name, form in resolve_name(provider)().items()}


def set_apart(content: Any) -> Any:
    """Return a recipe's values with these tables under ``FIELD``. Raises ValidationError for such a key."""
    if not isinstance(content, dict):
        return content
    if FIELD in content:
        slip = InitErrorDetails(type="extra_forbidden", loc=(FIELD,), input=content[FIELD])
        raise ValidationError.from_exception_data("Recipe", [slip])
    own = {name: content[name] for name in forms() if name in content}
    return {name: value for name, value in content.items() if name not in own} | {FIELD: own}


def read(tables: dict[str, Any]) -> dict[str, BaseModel]:
    """Return the tables as their engines and tasks know them. Raises ValidationError with the place of each slip."""
    known = forms()
    fields: dict[str, Any] = {name: (known[name], ...) for name in tables}
    checked = create_model("OwnedTables", **fields).model_validate(tables, strict=True)
    return {name: getattr(checked, name) for name in tables}


def put_back(whole: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's values with these tables under their own names, where ``FIELD`` stood."""
    flat: dict[str, Any] = {}
    for name, value in whole.items():
        flat |= value if name == FIELD else {name: value}
    return flat
