"""Options that several commands share: their defaults, and what is no value for them."""

from __future__ import annotations

from modelport.core.errors import UsageError

# The share of the samples that may be missing from a verdict.
MAX_SKIPPED = 0.01
# A batch of the largest recipe takes seconds on two cores; a run that takes this long does not end.
RUN_SECONDS = 600.0


def positive(option: str, value: int | None) -> int | None:
    """Return ``value``. Raises UsageError where it is below 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}", "give a number of at least 1")
    return value


def share(option: str, value: float) -> float:
    """Return ``value``. Raises UsageError unless it is a share from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"{option} {value}", "give a share from 0 to 1, as in 0.01")
    return value
