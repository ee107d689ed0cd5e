"""``modelport``: the entry, the global options, and what becomes of errors."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from modelport import __version__
from modelport.cli import (
    aipp,
    bench,
    compare,
    diff,
    history,
    init,
    look,
    models,
    power,
    probe,
    report,
    runs,
    samples,
    steps,
    trace,
    tune,
    verify,
)
from modelport.cli.console import TALK, Talk, json_text
from modelport.core.errors import EXIT_INTERRUPTED, EXIT_PASS, EXIT_USAGE, UsageError, did_you_mean
from modelport.core.guard import fill_closed_streams, guarded, leave, watch_signals, write_out
from modelport.core.options import refuse_nul
from modelport.core.text import plain, plain_lines

GLOBAL = (
    "Every command takes --json (the result on stdout as JSON), --json-out FILE (written there as well), "
    "-q/--quiet (the result's line and errors alone) and -v/--verbose (each stage with its seconds, on stderr)."
)
GLOBAL_OPTIONS = ("--json", "--json-out", "--quiet", "--verbose")
# What typer raises for a wrong option, command or value: click's UsageError, to which typer gives no public name.
WRONG_USAGE: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help=f"Carry a trained vision model to the device it will run on, and prove that it arrived intact.\n\n{GLOBAL}",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MAKING = (look, init, models, runs, steps, bench, tune, diff)
JUDGING = (compare, verify, trace, probe, power, report, history)
for group in (*MAKING, *JUDGING):
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
    TALK.take(Talk(json="--json" in words))
    asked, words = take_global_options(words)
    TALK.take(asked)
    runs.COMMAND = shlex.join(["modelport", *words])
    refuse_nul(words)
    if "" in words:
        # As a path it would be the folder at hand, as another value the default.
        after = f" after {words[words.index('') - 1]}" if words[0] else ""
        raise UsageError(f"an empty word{after}", "give a value; is a variable of the shell empty?")
    groups = [group.name for group in app.registered_groups]
    if "_MODELPORT_COMPLETE" in os.environ or (words and not (len(words) == 1 and words[0] in groups)):
        return _called(words)
    if TALK.json:
        raise UsageError("no command was given", f"`{shlex.join(['modelport', *words, '--help'])}` lists them")
    _called([*words, "--help"])
    return EXIT_USAGE


def _called(words: list[str]) -> int:
    """Let typer call the verb. Raises UsageError for what it finds wrong, KeyboardInterrupt where it was stopped."""
    try:
        code = app(words, prog_name="modelport", standalone_mode=False)
    except WRONG_USAGE as error:
        raise _told_as_ours(error, words) from error
    except typer.Abort as end_of_file:
        raise end_of_file.__cause__ or end_of_file from None
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            return EXIT_PASS
        code = leaving.code
    except OSError as error:
        # Help and version are printed by typer itself.
        if error.errno == errno.ENOSPC and error.filename is None:
            _flushed()
        raise
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    _flushed()
    return code if isinstance(code, int) else EXIT_PASS


def _told_as_ours(error: Any, words: list[str]) -> UsageError:
    """Return typer's finding with a fix."""
    context = error.ctx
    verb = context.command_path if context else shlex.join(["modelport", *words[:1]])
    help_of_it = f"`{verb} --help` tells what it takes"
    if not hasattr(error, "possibilities"):  # the class of an unknown option has no public name either
        names: Sequence[str] = getattr(getattr(error, "param", None), "opts", ())
        value = _value_of(names, words)
        found = error.format_message() if value is None else f"{names[0]} {plain(value, 40)}: {error.message}"
        return UsageError(found, help_of_it)
    known = [word for option in context.command.params for word in option.opts] if context else []
    near = did_you_mean(error.option_name, [word for word in (*known, *GLOBAL_OPTIONS) if word.startswith("-")])
    return UsageError(f"{verb} has no option {error.option_name}", f"{near}{help_of_it}")


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
    out = _value_of(("--out",), words)
    cache = "the cache keeps the weights, exports and source's answers so far"
    if out is None:
        return f"nothing half-written was left; {cache}"
    with contextlib.suppress(OSError, ValueError):
        if Path(out).is_file() or Path(out, "result.json").is_file():
            return f"{out} holds an earlier result; {cache}"
    return f"{out} holds no result; {cache}"


def _value_of(names: Sequence[str], words: list[str]) -> str | None:
    """Return what follows an option on the line, after a space or an equals sign; None where it is not there."""
    for word, after in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else after
    return None


def take_global_options(words: list[str]) -> tuple[Talk, list[str]]:
    """Take the options of every verb from wherever they stand, and return them and the other words.

    They are ``--json``, ``--json-out FILE``, ``-q``/``--quiet`` and ``-v``/``--verbose``. Raises UsageError where the
    file's name is missing or its folder does not exist, and where both of the last two are given.
    """
    asked, rest = Talk(), list[str]()
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word == "--json":
            asked.json = True
        elif word in ("-q", "--quiet"):
            asked.quiet = True
        elif word in ("-v", "--verbose"):
            asked.verbose = True
        elif word == "--json-out" or word.startswith("--json-out="):
            name = word.partition("=")[2] if "=" in word else next(waiting, "")
            if not name:
                raise UsageError("--json-out needs a file name", "write --json-out FILE")
            asked.json_out = Path(name)
        else:
            rest.append(word)
    if asked.quiet and asked.verbose:
        raise UsageError("--quiet and --verbose ask for two things", "give one of them")
    out = asked.json_out
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"--json-out {out}: no file can be written there", "name a file in a folder that exists")
    return asked, rest


if __name__ == "__main__":
    main()
