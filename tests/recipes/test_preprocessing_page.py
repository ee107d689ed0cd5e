"""The page on preprocessing names every step with its keys, and every preset, as the schema has them."""

from __future__ import annotations

import re
import tomllib
import typing
from pathlib import Path

from pydantic import TypeAdapter

from modelport.recipes.chain import form_of
from modelport.recipes.presets import PRESETS, expanded
from modelport.recipes.steps import Step, Strict

PAGE = (Path(__file__).parents[2] / "docs" / "preprocessing.md").read_text(encoding="utf-8")
KINDS: tuple[type[Strict], ...] = typing.get_args(typing.get_args(Step)[0])


def row(kind: type[Strict]) -> str:
    """Return a step's line of the page: its name, its keys, and the first line of its docstring."""
    (name,) = typing.get_args(kind.model_fields["step"].annotation)
    keys = ", ".join(f"`{key}`" for key in kind.model_fields if key != "step")
    return f"| `{name}` | {keys} | {(kind.__doc__ or '').splitlines()[0].replace('``', '`')} |"


def test_every_step_has_its_line_and_no_other_is_told() -> None:
    told = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(KINDS) == 22
    assert sorted(told) == sorted(map(row, KINDS))


def test_every_preset_has_its_line_and_no_other_is_told() -> None:
    assert re.findall(r"^- `(.+)`$", PAGE, re.MULTILINE) == list(PRESETS)


def test_the_examples_are_sound() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for text in examples:
        steps = TypeAdapter(list[Step]).validate_python(expanded(tomllib.loads(text)["preprocess"]))
        assert form_of(steps).channels == 3
