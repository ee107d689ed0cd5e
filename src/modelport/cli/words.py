"""Words that the user chooses among."""

from __future__ import annotations

from typing import Any

import typer

from modelport.core.errors import UsageError, unknown
from modelport.core.options import MAX_BATCH
from modelport.core.text import plain

# What torch and NumPy both take for a seed.
MAX_SEED = 2**63 - 1


def seed_option(help: str | None = None) -> Any:
    """Return the option ``--seed``, an integer from 0 to 2**63 - 1."""
    # A range of typer's own would stand in every help text, with its nineteen digits.
    return typer.Option(0, "--seed", help=help, metavar="S", callback=_seed)


def _seed(value: int) -> int:
    if not 0 <= value <= MAX_SEED:
        raise UsageError(f"--seed {value}", f"give an integer from 0 to {MAX_SEED}")
    return value


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
