"""Find a recipe by name or path, and say precisely what is wrong with one."""

from __future__ import annotations

import tomllib
import types
import typing
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from modelport.core.errors import RecipeError, did_you_mean, unknown
from modelport.core.files import read_regular_text
from modelport.recipes import owned_tables
from modelport.recipes.schema import Recipe

MAX_RECIPE_BYTES = 1024 * 1024


def recipe_names() -> list[str]:
    """Return the names of the recipes that modelport brings along."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in files(__package__).iterdir() if entry.name.endswith(".toml")
    )


def load_recipe(name_or_path: str) -> Recipe:
    """Return the recipe of that name, or the one in that file.

    Anything that ends in ``.toml`` or has a folder in it is a path; so is a name that no recipe has where a file of
    that name lies in the current folder. Raises RecipeError with the place and the fix.
    """
    known = recipe_names()
    is_path = name_or_path.endswith(".toml") or "/" in name_or_path
    if is_path or (name_or_path not in known and "\0" not in name_or_path and Path(name_or_path).is_file()):
        fix = "give a recipe file in TOML; `modelport list` names the recipes"
        return parse_recipe(read_regular_text(Path(name_or_path), MAX_RECIPE_BYTES, RecipeError, fix), name_or_path)
    if name_or_path not in known:
        raise RecipeError(
            f"no recipe named '{name_or_path}'",
            unknown("recipes", name_or_path, known) + ", or a path to a .toml file",
        )
    return parse_recipe(
        files(__package__).joinpath(f"{name_or_path}.toml").read_text(encoding="utf-8"), f"{name_or_path}.toml"
    )


def parse_recipe(text: str, place: str) -> Recipe:
    """Return the recipe that ``text`` spells; ``place`` names the file in errors."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{place}: no valid TOML: {error}", "mend the file") from error
    # A recipe that a variant was applied to has no variants any more: so result folders hold it.
    if "variant" in content and content.get("variants") != {}:
        raise RecipeError(f"{place}: variant: unknown key", "the table is called variants; --variant names one")
    try:
        recipe = Recipe.model_validate(content)
        for name in recipe.variants:
            recipe.with_variant(name)
        return recipe
    except ValidationError as error:
        complaints = [_complaint(dict(item), content) for item in error.errors()]
        raise RecipeError(
            f"{place}: " + "; ".join(complaints), "mend the keys; `modelport show moco-v2` shows a whole recipe"
        ) from error


def _complaint(item: dict[str, Any], content: dict[str, Any]) -> str:
    place = _place(item["loc"], content)
    key = str(item["loc"][-1]) if item["loc"] else ""
    match item["type"]:
        case "extra_forbidden":
            near = did_you_mean(key, _keys_at(item["loc"][:-1]))
            return f"{place}: unknown key" + (f", {near.strip()}" if near else "")
        case "missing":
            return f"{place}: missing"
        case "union_tag_invalid" | "literal_error":
            expected = item["ctx"].get("expected_tags") or item["ctx"].get("expected")
            got = item["ctx"].get("tag", item["input"])
            choices = str(expected).replace("'", "").replace(" or ", ", ").split(", ")
            near = did_you_mean(str(got), choices)
            return f"{place}: '{got}' is none of {', '.join(choices)}" + (f", {near.strip()}" if near else "")
        case _:
            return f"{place}: {item['msg'].removeprefix('Value error, ')}"


def _place(loc: tuple[int | str, ...], content: dict[str, Any]) -> str:
    """Return ``preprocess[1].size`` for a location, leaving out the union tags that are no keys of the file."""
    text, here = "", typing.cast(Any, content)
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(part, int) and isinstance(here, list) and part < len(here):
            text, here = f"{text}[{part}]", here[part]
        elif isinstance(here, dict) and (part in here or last):
            text, here = f"{text}.{part}", here.get(part)
    return text.lstrip(".") or "recipe"


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the schema knows at a location."""
    tables = owned_tables.forms()
    if not loc:
        known = [field.alias or name for name, field in Recipe.model_fields.items() if name != owned_tables.FIELD]
        return [*known, *tables]
    here: list[type[BaseModel]] = [Recipe]
    if loc[0] == owned_tables.FIELD and len(loc) > 1:
        here, loc = [tables[str(loc[1])]], loc[2:]
    for part in loc:
        if isinstance(part, int):
            continue
        fields = [
            field for model in here for name, field in model.model_fields.items() if (field.alias or name) == part
        ]
        tagged = [
            model
            for model in here
            if "step" in model.model_fields and part in typing.get_args(model.model_fields["step"].annotation)
        ]
        here = tagged or [model for field in fields for model in _models_in(field.annotation)]
    return [field.alias or name for model in here for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
