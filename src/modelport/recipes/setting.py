"""A setting: how a recipe's model is to be run here, as ``tune`` found it and ``run --setting`` takes it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationError

from modelport.core.errors import RecipeError, unknown
from modelport.core.files import read_regular_text
from modelport.recipes.steps import Strict

SCHEMA = "modelport.setting/1"
MAX_SETTING_BYTES = 1024 * 1024


class Setting(Strict):
    """The file's keys. ``measured`` says what came of it where it was found; nothing is decided by it."""

    schema_: Annotated[Literal["modelport.setting/1"], Field(alias="schema")]
    recipe: str
    engine: str
    precision: Literal["fp32", "bf16", "fp16", "int8"]
    batch: PositiveInt
    concurrency: PositiveInt
    """Runs in flight."""
    threads: PositiveInt
    """Of the engine, all runs together."""
    input_type: Literal["float32", "uint8"]
    calibration: str | None = None
    """Images for int8, a path."""
    measured: dict[str, str | int | float] = Field(default_factory=dict)


def read_setting(path: Path) -> Setting:
    """Return the setting in a TOML file. Raises RecipeError for a file that is none, with the nearest key."""
    try:
        content = tomllib.loads(read_regular_text(path, MAX_SETTING_BYTES, RecipeError))
        return Setting.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_said(error)}", "give a file that `modelport tune` wrote") from error
    except (ValueError, RecursionError) as error:  # tomllib's own are ValueErrors, as is an integer beyond measure
        raise RecipeError(f"{path}: no TOML: {error}", "give a file that `modelport tune` wrote") from error


def setting_text(setting: Setting) -> str:
    """Return the setting as TOML."""
    values = setting.model_dump(by_alias=True, exclude_none=True)
    measured: dict[str, Any] = values.pop("measured")
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    if measured:
        lines += ["", "[measured]", *(f"{key} = {_toml(value)}" for key, value in measured.items())]
    return "\n".join(lines) + "\n"


def _said(error: ValidationError) -> str:
    # An unknown key tells more than the key that is missing for it.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{key}: {unknown('keys', key, [*Setting.model_fields, 'schema'])}"
    return f"{key}: {first['msg']}"


def _toml(value: str | int | float) -> str:
    if isinstance(value, str):
        # TOML's basic strings have JSON's escapes.
        import json

        return json.dumps(value, ensure_ascii=False)
    return repr(value)
