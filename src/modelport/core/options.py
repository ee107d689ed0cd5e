"""Options that several commands share: their defaults, and what is no value for them."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.core.errors import UsageError
from modelport.core.text import plain

# The share of the samples that may be missing from a verdict.
MAX_SKIPPED = 0.01
# Of each bound of an interval: as sure as a verdict is.
CONFIDENCE = 0.95
# A batch of the largest recipe takes seconds on two cores; a run that takes this long does not end.
RUN_SECONDS = 600.0
# A larger batch is a slip of the keyboard.
MAX_BATCH = 65_536


def refuse_nul(words: Sequence[str]) -> None:
    """Raise UsageError where a word of the command line holds a NUL byte, which no file's name can."""
    if nul := next((word for word in words if "\0" in word), None):
        raise UsageError(f"{plain(nul, 200)}: holds a NUL byte", "no name can hold one; check the command line")


def batch_rows(option: str, value: int | None) -> int | None:
    """Return ``value``. Raises UsageError unless it is a batch of 1 to 65,536 rows."""
    if value is not None and not 1 <= value <= MAX_BATCH:
        raise UsageError(f"{option} {plain(value, 40)}", f"give a number of at least 1; a batch is 1 to {MAX_BATCH}")
    return value


def seconds(option: str, value: float) -> float:
    """Return ``value``. Raises UsageError unless it is a time above 0 and below 1e9 s, some thirty years."""
    if not 0.0 < value < 1e9:
        raise UsageError(f"{option} {value:g}: no time that a run may take", "give seconds above 0")
    return value


def confidence(value: float) -> float:
    """Return ``value``. Raises UsageError unless it is a level from 0.5 to 0.99."""
    if not 0.5 <= value <= 0.99:
        raise UsageError(f"--confidence {value:g}", "give a level from 0.5 to 0.99, as in 0.95")
    return value


def drop(option: str, value: float | None) -> float | None:
    """Return ``value``. Raises UsageError unless it is None or a number of at least 0."""
    if value is not None and not 0.0 <= value < float("inf"):
        raise UsageError(f"{option} {value:g}", "give a number of at least 0")
    return value


def share(option: str, value: float) -> float:
    """Return ``value``. Raises UsageError unless it is a share from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value}", "give a share from 0 to 1, as in 0.01")
    return value
