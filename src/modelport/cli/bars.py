"""Progress as bars on stderr: count, rate, time left, and what is known so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from modelport.core.progress import Bar, stage
from modelport.core.text import plain

# Of a bar, and of the name before it: count, rate and time left find room beside them. What is said stands below it.
BAR, TITLE = 16, 24
# Between two things that are said of the same work.
SECONDS = 1.0


class Bars:
    """Progress drawn by rich on stderr; silent where that is no terminal, but for lines that ``--verbose`` asks for."""

    def __init__(self, *, verbose: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, soft_wrap=True)
        self._verbose = verbose
        self._begun = time.perf_counter()

    def bar(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Bar]:
        """Open a bar with count, rate and time left; its seconds are told under ``--verbose``."""
        bar = _drawn(self._console, title, total, unit)
        return _timed(self, title, bar) if self._verbose else bar

    def note(self, text: str) -> None:
        """Say one line, where somebody is watching."""
        if self._verbose or self._console.is_terminal:
            clock = f"[{time.perf_counter() - self._begun:7.2f} s] " if self._verbose else ""
            self._console.print(clock + plain(text), style="dim", highlight=False, markup=False)

    def detail(self, text: str) -> None:
        """Say one line under ``--verbose``."""
        if self._verbose:
            self.note(text)


@contextmanager
def _timed(bars: Bars, title: str, bar: AbstractContextManager[Bar]) -> Iterator[Bar]:
    with stage(bars, title), bar as drawn:
        yield drawn


@contextmanager
def _drawn(console: Any, title: str, total: int | None, unit: str) -> Iterator[Bar]:
    from rich import progress as rich_progress
    from rich.text import Text

    class Rate(rich_progress.ProgressColumn):
        def render(self, task: rich_progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else f"– {unit}/s")

    bytes_wanted = unit == "bytes"
    columns: list[Any] = [
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(bar_width=BAR),
    ]
    if bytes_wanted:
        columns += [rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn()]
    else:
        columns += [rich_progress.MofNCompleteColumn(), Rate()]
    columns += [rich_progress.TimeRemainingColumn()]

    class Drawing(rich_progress.Progress):
        said = ""

        def get_renderables(self) -> Iterator[Any]:
            yield from super().get_renderables()
            if self.said:
                yield Text(self.said, style="dim")

    with Drawing(*columns, console=console, transient=True, disable=not console.is_terminal) as drawing:
        task = drawing.add_task(plain(title, TITLE), total=total)

        class Advance:
            said_at = 0.0

            def advance(self, count: int = 1) -> None:
                drawing.advance(task, count)

            def say(self, words: Callable[[], str]) -> None:
                now = time.perf_counter()
                if console.is_terminal and now - self.said_at >= SECONDS:
                    self.said_at, drawing.said = now, plain(words())

        yield Advance()
