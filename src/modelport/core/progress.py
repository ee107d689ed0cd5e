"""How long work tells that it lives. The command line draws bars; libraries and tests stay silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""

    def say(self, words: Callable[[], str]) -> None:
        """Say a few words beside it; they are made only where somebody sees them, and at most once a second."""


class Progress(Protocol):
    """Where talk goes."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """Open a bar of ``total`` units, None where that is not known."""

    def note(self, text: str) -> None:
        """Say one line."""

    def detail(self, text: str) -> None:
        """Say one line to whoever asked for all of them."""


class Silent:
    """Progress that says nothing."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """Open a bar that nobody sees."""
        return nullcontext(self)

    def note(self, text: str) -> None:
        """Say nothing."""

    def detail(self, text: str) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""

    def say(self, words: Callable[[], str]) -> None:
        """Say nothing."""


SILENT = Silent()


@contextmanager
def stage(progress: Progress, name: str) -> Iterator[None]:
    """Tell, as a detail, how many seconds the work inside took."""
    begun = time.perf_counter()
    yield
    progress.detail(f"{name}: {time.perf_counter() - begun:.2f} s")
