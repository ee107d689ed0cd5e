"""A recipe as a person reads it first: a line a key, beside it what it was read from, and what was guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelport.recipes.toml import toml_value

GUESSED = "GUESSED"


@dataclass(frozen=True, slots=True)
class Line:
    """One key. ``why`` tells where the value comes from; a guessed one moves numbers and was told by nobody."""

    key: str
    value: Any
    why: str = ""
    guessed: bool = False

    @property
    def comment(self) -> str:
        """What stands behind the value."""
        words = f"{GUESSED}: {self.why}" if self.guessed else self.why
        return f"  # {words}" if words else ""


def draft_text(made_by: str, lines: Sequence[Line]) -> str:
    """Return a recipe's TOML. A list of tables, the steps, has a line for each."""
    head = [f"# Written by `{made_by}`."]
    if any(line.guessed for line in lines):
        head.append(f"# {GUESSED} lines could not be read from the model and move numbers: check them.")
    return "\n".join([*head, *map(_text, lines)]) + "\n"


def _text(line: Line) -> str:
    if isinstance(line.value, list) and line.value and all(isinstance(entry, dict) for entry in line.value):
        entries = [toml_value(entry) for entry in line.value]
        first = f"{line.key} = [{entries[0]}"
        if len(entries) == 1:
            return f"{first}]{line.comment}"
        return ",\n".join([first, *(f"    {entry}" for entry in entries[1:])]) + f"]{line.comment}"
    return f"{line.key} = {toml_value(line.value)}{line.comment}"
