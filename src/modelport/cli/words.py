"""Words that the user chooses among."""

from __future__ import annotations

from typing import Any

from modelport.core.errors import UsageError, unknown
from modelport.core.text import plain

# A larger batch is a slip of the keyboard.
MAX_BATCH = 65_536


def batch_size(text: str, fix: str) -> int:
    """Return a batch between 1 and 65,536. Raises UsageError with ``fix`` for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_BATCH):
        raise UsageError(f"--batch {plain(text, 40)}", f"{fix}; a batch is 1 to {MAX_BATCH}")
    return int(text)


def one_of(option: str, word: str, choices: tuple[str, ...]) -> Any:
    """Return ``word`` where it is one of the choices. Raises UsageError with the nearest one."""
    if word not in choices:
        raise UsageError(f"{option} {word}", unknown("choices", word, choices))
    return word
