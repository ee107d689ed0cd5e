"""One family of errors: each says what was found and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INCONCLUSIVE = 0, 1, 2, 3
# A fault of modelport itself (sysexits.h: EX_SOFTWARE), never 1: scripts read 1 as "the model failed".
EXIT_FAULT = 70
# Stopped by SIGINT or SIGTERM.
EXIT_INTERRUPTED = 130


class ModelportError(Exception):
    """Base of every error a user can cause or cure.

    Args:
        found: what was found, naming the file, key or option.
        fix: what to do about it.
    """

    exit_code = EXIT_USAGE

    def __init__(self, found: str, fix: str = "") -> None:
        super().__init__(f"{found}\n  fix: {fix}" if fix else found)
        self.found = found
        self.fix = fix

    def __reduce__(self) -> tuple[type[ModelportError], tuple[str, str]]:
        return type(self), (self.found, self.fix)


class UsageError(ModelportError):
    """An option, name or combination of options that cannot be served."""


class RecipeError(ModelportError):
    """A recipe that is unknown, unreadable or not as the schema wants it."""


class CheckpointError(ModelportError):
    """A weights file that is missing, damaged, unsafe, or does not fit the model."""


class FetchError(ModelportError):
    """Weights that could not be fetched, or that are not what was promised."""


class SignatureError(ModelportError):
    """A tensor whose name, dtype or shape is not the declared one."""


class GraphError(ModelportError):
    """A graph that is unreadable, could not be written, or is not the source model."""


class EngineError(ModelportError):
    """An engine that is not usable here, or that failed."""


class DataError(ModelportError):
    """A data set or a sample that is not as its layout says."""


class BadSampleError(DataError):
    """One sample that cannot be decoded; ``run --on-bad-image skip`` passes over it."""


class OutputError(ModelportError):
    """A place that cannot be written, or that already holds a result."""


@contextmanager
def raised_as(
    kind: type[ModelportError], found: str, fix: str, causes: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Raise a ``kind`` for each of the ``causes`` inside, saying ``found`` and then its own words.

    Our own errors pass. Vendors' errors share no base below Exception.
    """
    try:
        yield
    except ModelportError:
        raise
    except causes as error:
        raise kind(f"{found}: {getattr(error, 'strerror', None) or error}", fix) from error


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? "`` for the nearest choice, else an empty string."""
    spelled = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5)
    return f"did you mean '{spelled[near[0]]}'? " if near else ""


def unknown(kind: str, word: str, choices: Iterable[str]) -> str:
    """Return the fix for an unknown name: the nearest right one, and the list of all."""
    names = sorted(choices)
    return f"{did_you_mean(word, names)}known {kind}: {', '.join(names)}"
