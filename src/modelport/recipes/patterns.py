"""Regular expressions of a recipe: only such as are matched in bounded time."""

from __future__ import annotations

import importlib
import math
import re
import warnings
from typing import Any

MAX_PATTERN = 500
# The longest name that is held against a pattern: PATH_MAX.
LONGEST = 4096
# A matcher that goes back tries at most 2 to this many ways: two repeats without end, or 26 choices of two.
MAX_WAYS = 26


def check_pattern(pattern: str) -> None:
    """Raise ValueError for a pattern that does not compile, or that could be matched in too many ways to try them."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern of {len(pattern)} characters, more than {MAX_PATTERN}; write a shorter one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of notations that a later Python may read otherwise
            re.compile(pattern)
            # The tree that `re` itself compiles; the library documents no other way to it.
            tree = importlib.import_module("re._parser").parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"'{pattern[:60]}' is no regular expression: {error}") from error
    if _ways(tree) > MAX_WAYS:
        raise ValueError(
            f"'{pattern[:60]}' repeats what repeats or chooses already, so that matching may take for ever; "
            "write it without a repeat inside a repeat"
        )


def _ways(tree: Any) -> float:
    """Return the binary logarithm of how many ways there are, at most, to match a text of ``LONGEST`` characters."""
    return sum(_ways_of(str(operator), argument) for operator, argument in tree)


def _ways_of(operator: str, argument: Any) -> float:
    if operator.endswith("_REPEAT"):
        least, most, inner = argument
        turns = min(int(most), LONGEST)
        return math.log2(max(1, turns - min(int(least), turns) + 1)) + turns * _ways(inner)
    if operator == "BRANCH":
        branches = argument[1]
        return math.log2(len(branches)) + max(map(_ways, branches))
    return sum(_ways(part) for part in _inner(argument))


def _inner(argument: Any) -> list[Any]:
    """Return the patterns within an operator's argument (a group's, a look-ahead's, a condition's)."""
    if isinstance(argument, tuple | list):
        return [part for entry in argument for part in _inner(entry)]
    return [argument] if hasattr(argument, "getwidth") else []
