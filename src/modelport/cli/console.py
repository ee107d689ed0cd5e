"""What the user sees: results on stdout, talk and bars on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from modelport.core.artifacts import write_json
from modelport.core.guard import write_out
from modelport.core.progress import Bar, Progress, Silent, stage
from modelport.core.text import plain, plain_lines

# Columns that tables have where there is no terminal to ask; no word of them is cut.
WIDTH = 80
# What a colour means, the same in every verb. Each stands on a word that says it, too.
GOOD, BAD, DOUBT = "green", "red", "yellow"
COLOURS = {
    **dict.fromkeys(("pass", "better", "not worse", "yes", "within", "noticed", "repaired", "chosen"), GOOD),
    **dict.fromkeys(("fail", "worse", "no", "beyond", "missed", "does not fit", "loses too much"), BAD),
    **dict.fromkeys(("inconclusive", "incomplete", "cannot tell", "by chance", "not repaired"), DOUBT),
}


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
    columns: list[Any] = [rich_progress.TextColumn("{task.description}", markup=False), rich_progress.BarColumn()]
    if bytes_wanted:
        columns += [rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn()]
    else:
        columns += [rich_progress.MofNCompleteColumn(), Rate()]
    columns += [rich_progress.TimeRemainingColumn()]
    with rich_progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as drawing:
        task = drawing.add_task(plain(title), total=total)

        class Advance:
            def advance(self, count: int = 1) -> None:
                drawing.advance(task, count)

        yield Advance()


@dataclass(slots=True)
class Talk:
    """How this call answers: the options that every verb takes.

    ``quiet`` leaves the result's own lines and errors; ``verbose`` adds every stage with its seconds, on stderr.
    """

    json: bool = False
    json_out: Path | None = None
    quiet: bool = False
    verbose: bool = False
    _progress: Progress | None = field(default=None)

    @property
    def progress(self) -> Progress:
        """What the work of this call tells of itself."""
        if self._progress is None:
            self._progress = Silent() if self.quiet else Bars(verbose=self.verbose)
        return self._progress

    def note(self, text: str) -> None:
        """Say on stderr what is to be said beside a result that was drawn; in JSON it stands within."""
        if not (self.json or self.quiet):
            typer.echo(plain_lines(f"note: {text}"), err=True)

    def take(self, other: Talk) -> None:
        """Answer as ``other`` does."""
        for name in ("json", "json_out", "quiet", "verbose", "_progress"):
            setattr(self, name, getattr(other, name))

    def give(self, value: Any, draw: Callable[[Any], None]) -> None:
        """Print a result: as JSON, or as ``draw`` shows it on a rich console."""
        if self.json_out is not None:
            write_json(self.json_out, value)
        if self.json:
            write_out(json_text(value))
            return
        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        # Rich would end the process with 1 where the reader has left.
        with console.capture() as drawn:
            draw(PlainConsole(console, quiet=self.quiet))
        write_out(_encodable(drawn.get()))


class PlainConsole:
    """A rich console to which a line of text is text: no markup, no escape sequences of others."""

    def __init__(self, console: Any, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet

    def aside(self, value: Any = "", **options: Any) -> None:
        """Print what ``--quiet`` leaves out: all but the result's own line."""
        if not self._quiet:
            self.print(value, **options)

    def print(self, value: Any = "", **options: Any) -> None:
        """Print a line, made plain unless ``markup`` is asked for, or something that rich draws."""
        if isinstance(value, str):
            markup = options.pop("markup", False)
            self._console.print(value if markup else plain_lines(value), markup=markup, **options)
        else:
            self._console.print(value, **options)


def cell(value: object, style: str = "") -> Any:
    """Return a table's cell or a word in a colour: text in which nothing is read as markup."""
    from rich.text import Text

    return Text(plain_lines(value), style=style)


def word(text: str) -> Any:
    """Return one of the words that verdicts are told by, in its colour."""
    return cell(text, COLOURS.get(text, ""))


def grid(left: Sequence[str] = (), right: Sequence[str] = (), last: Sequence[str] = ()) -> Any:
    """Return a table with these headers: words, then figures set to the right, then words again.

    What is too wide for the console goes on in the next line: nothing is cut.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for names, side in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            table.add_column(cell(name), justify=side, overflow="fold")
    return table


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return JSON that stdout can take: beyond its encoding (and for names that are not UTF-8) as JSON's escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent, allow_nan=False)
    return text + "\n"


def _encodable(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


TALK = Talk()
