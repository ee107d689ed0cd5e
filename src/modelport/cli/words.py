"""Words that the user chooses among."""

from __future__ import annotations

from typing import Any

from modelport.core.errors import UsageError, unknown


def one_of(option: str, word: str, choices: tuple[str, ...]) -> Any:
    """Return ``word`` where it is one of the choices. Raises UsageError with the nearest one."""
    if word not in choices:
        raise UsageError(f"{option} {word}", unknown("choices", word, choices))
    return word
