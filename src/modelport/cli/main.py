"""``modelport``: the entry, the global options, and what becomes of errors."""

from __future__ import annotations

import contextlib
import errno
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import typer

from modelport import __version__
from modelport.cli import aipp, bench, look, models, runs, samples, steps, tune
from modelport.cli.console import TALK, json_text
from modelport.core.errors import EXIT_INTERRUPTED, EXIT_PASS, UsageError
from modelport.core.guard import fill_closed_streams, guarded, leave, watch_signals, write_out
from modelport.core.options import refuse_nul
from modelport.core.text import plain_lines

GLOBAL = "Every command takes --json (the result on stdout as JSON) and --json-out FILE (written there as well)."

app = typer.Typer(
    help=f"Carry a trained vision model to the device it will run on, and prove that it arrived intact.\n\n{GLOBAL}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (look, models, runs, steps, bench, tune):
    group.register(app)
app.add_typer(samples.app, name="samples")
app.add_typer(aipp.app, name="aipp")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modelport {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Take what stands before the command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code. Without ``arguments`` it is the process's own."""
    words = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        fill_closed_streams()
        watch_signals(lambda: _kept(words))
    code = guarded(lambda: _run(words), _say, lambda: _kept(words))
    if arguments is None:
        leave(code)
    sys.exit(code)


def _run(words: list[str]) -> int:
    # Where the global options themselves are wrong, an error is still told as was asked.
    TALK.json, TALK.json_out = "--json" in words, None
    TALK.json, TALK.json_out, words = take_global_options(words)
    runs.COMMAND = shlex.join(["modelport", *words])
    refuse_nul(words)
    if "" in words:
        # As a path it would be the folder at hand, as another value the default.
        after = f" after {words[words.index('') - 1]}" if words[0] else ""
        raise UsageError(f"an empty word{after}", "give a value; is a variable of the shell empty?")
    try:
        app(words, prog_name="modelport")
        sys.stdout.flush()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return EXIT_PASS
        if leaving.code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt from leaving
        _flushed()
        return leaving.code if isinstance(leaving.code, int) else EXIT_PASS
    except OSError as error:
        # Help and version are printed by typer itself.
        if error.errno == errno.ENOSPC and error.filename is None:
            _flushed()
        raise
    return EXIT_PASS


def _flushed() -> None:
    write_out("")


def _say(found: str, fix: str) -> None:
    message = (
        f"error: {found}\n  fix: {fix}" if fix else found if found.startswith("interrupted") else f"error: {found}"
    )
    with contextlib.suppress(OSError, ValueError):
        typer.echo(plain_lines(message), err=True)
    if TALK.json:
        write_out(json_text({"schema": "modelport.error/1", "error": found, "fix": fix}, indent=None))


def _kept(words: list[str]) -> str:
    """Return what an interruption leaves, for whoever reads its message."""
    out = next((after for word, after in pairwise(words) if word == "--out"), None)
    out = out or next((word.partition("=")[2] for word in words if word.startswith("--out=")), None)
    cache = "the cache keeps the weights, exports and source's answers so far"
    if out is None:
        return f"nothing half-written was left; {cache}"
    with contextlib.suppress(OSError, ValueError):
        if Path(out).is_file() or Path(out, "result.json").is_file():
            return f"{out} holds an earlier result; {cache}"
    return f"{out} holds no result; {cache}"


def take_global_options(words: list[str]) -> tuple[bool, Path | None, list[str]]:
    """Take ``--json`` and ``--json-out FILE`` from wherever they stand, and return the other words.

    Raises UsageError where the file's name is missing or its folder does not exist.
    """
    as_json, out, rest = False, None, list[str]()
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word == "--json":
            as_json = True
        elif word == "--json-out" or word.startswith("--json-out="):
            name = word.partition("=")[2] if "=" in word else next(waiting, "")
            if not name:
                raise UsageError("--json-out needs a file name", "write --json-out FILE")
            out = Path(name)
        else:
            rest.append(word)
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"--json-out {out}: no file can be written there", "name a file in a folder that exists")
    return as_json, out, rest


if __name__ == "__main__":
    main()
