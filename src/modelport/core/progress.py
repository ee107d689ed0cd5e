"""How long work tells that it lives. The command line draws bars; libraries and tests stay silent."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""


class Progress(Protocol):
    """Where talk goes."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """Open a bar of ``total`` units, None where that is not known."""

    def note(self, text: str) -> None:
        """Say one line."""


class Silent:
    """Progress that says nothing."""

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """Open a bar that nobody sees."""
        return nullcontext(self)

    def note(self, text: str) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Do nothing."""
