"""What the user sees: results on stdout, talk on stderr, and what their colours mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from modelport.cli.bars import Bars
from modelport.core.artifacts import write_json
from modelport.core.guard import write_out
from modelport.core.progress import Progress, Silent
from modelport.core.text import plain_lines

# Columns that tables have where there is no terminal to ask; no word of them is cut.
WIDTH = 80
# What a colour means, the same in every verb. Each stands on a word that says it, too.
GOOD, BAD, DOUBT = "green", "red", "yellow"
COLOURS = {
    **dict.fromkeys(("pass", "better", "not worse", "yes", "within", "noticed", "repaired", "chosen"), GOOD),
    **dict.fromkeys(("fail", "worse", "no", "beyond", "missed", "does not fit", "loses too much"), BAD),
    **dict.fromkeys(("inconclusive", "incomplete", "cannot tell", "by chance", "not repaired", "skipped"), DOUBT),
}


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
            draw(PlainConsole(console, quiet=self.quiet, whole=not sys.stdout.isatty()))
        write_out(_encodable(drawn.get()))


class PlainConsole:
    """A rich console to which a line of text is text: no markup, no escape sequences of others."""

    def __init__(self, console: Any, *, quiet: bool = False, whole: bool = False) -> None:
        """``whole``: lines of text are not broken, for programs that read them; tables are folded all the same."""
        self._console = console
        self._quiet = quiet
        self._whole = whole

    def aside(self, value: Any = "", **options: Any) -> None:
        """Print what ``--quiet`` leaves out: all but the result's own line."""
        if not self._quiet:
            self.print(value, **options)

    def print(self, value: Any = "", **options: Any) -> None:
        """Print a line, made plain unless ``markup`` is asked for, or something that rich draws."""
        from rich.text import Text

        if self._whole and isinstance(value, str | Text):
            options["soft_wrap"] = True
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
    from modelport.cli.grid import Grid

    right_ones = frozenset(range(len(left), len(left) + len(right)))
    return Grid([cell(name) for name in (*left, *right, *last)], right_ones)


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
