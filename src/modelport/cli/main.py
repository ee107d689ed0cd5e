"""``modelport``: the entry, the global options, and what becomes of errors."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import typer

from modelport import __version__
from modelport.cli import aipp, bench, look, models, runs, samples, steps, tune
from modelport.cli.console import TALK
from modelport.core.errors import ModelportError, UsageError

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


@app.callback()
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True)) -> None:
    if version:
        typer.echo(f"modelport {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        TALK.json, TALK.json_out, words = take_global_options(words)
        runs.COMMAND = shlex.join(["modelport", *words])
        app(words, prog_name="modelport")
    except ModelportError as error:
        typer.echo(f"error: {error}", err=True)
        if TALK.json:
            typer.echo(
                json.dumps({"schema": "modelport.error/1", "error": error.found, "fix": error.fix}, ensure_ascii=False)
            )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing half-written was left", err=True)
        sys.exit(130)


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
