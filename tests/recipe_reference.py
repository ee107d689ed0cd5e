"""The reference of a recipe's keys, made from the schema: the tables of docs/recipes.md."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from modelport.recipes.schema import Recipe
from modelport.recipes.toml import toml_value
from modelport.tasks.table import recipe_tables

# Keys that a page of their own tells of, and the one that no file may hold.
ELSEWHERE = {"preprocess": "the steps, or a preset's name: [preprocessing.md](preprocessing.md)"}
LEFT_OUT = {"variant", "tables"}


def reference() -> str:
    """Return a table of keys for the recipe and one for each of its tables, those of the tasks last."""
    seen: set[type[BaseModel]] = set()
    own = (line for name, form in recipe_tables().items() for line in _sections(form, name, seen))
    return "\n".join([*_sections(Recipe, "", seen), *own])


def _sections(model: type[BaseModel], place: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    seen.add(model)
    yield f"### {f'`[{place}]`' if place else 'Top level'}\n"
    if place and model.__doc__:
        yield f"{model.__doc__.strip().splitlines()[0].replace('``', '`')}\n"
    yield "| key | value | default | meaning |\n| --- | --- | --- | --- |"
    below: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if not place and key in LEFT_OUT:
            continue
        tables = _models(field.annotation) if key not in ELSEWHERE else []
        below += [(f"{place}.{key}" if place else key, table) for table in tables if table not in seen]
        yield f"| `{key}` | {_kind(field.annotation, tables)} | {_default(field)} | {_meaning(key, field, tables)} |"
    yield ""
    for path, table in below:
        if table not in seen:
            yield from _sections(table, path, seen)


def _meaning(key: str, field: FieldInfo, tables: list[type[BaseModel]]) -> str:
    if key in ELSEWHERE:
        return ELSEWHERE[key]
    if field.description:
        return " ".join(field.description.split()).replace("``", "`").replace("|", "\\|")
    return (tables[0].__doc__ or "").strip().splitlines()[0].replace("``", "`") if tables else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default_factory() if field.default_factory else field.default  # type: ignore[call-arg]
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel) or value in ([], {}, ""):
        return ""
    return f"`{toml_value(value)}`"


def _kind(annotation: Any, tables: list[type[BaseModel]]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " ".join(f"`{toml_value(choice)}`" for choice in arguments)
    if tables:
        return "tables" if origin in (list, dict) else "table"
    if origin is typing.Annotated:
        return _kind(arguments[0], tables)
    if origin in (typing.Union, types.UnionType):
        kinds = dict.fromkeys(_kind(part, tables) for part in arguments if part is not type(None))
        return " or ".join(kinds)
    if origin in (list, tuple):
        return f"list of {_kind(arguments[0], tables)}" if arguments else "list"
    if origin is dict:
        return "table"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "value")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not typing.get_origin(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]
