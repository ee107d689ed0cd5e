"""``python -m modelport.ais_bench``: the entry, and what becomes of errors."""

from __future__ import annotations

import sys

from modelport.ais_bench.arguments import parse
from modelport.core.guard import fill_closed_streams, guarded, leave, watch_signals, write_out
from modelport.core.text import plain_lines

KEPT = "every result that was written is whole"


def main(words: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0; 2 for wrong usage or bad input, 70 for a fault of modelport itself, 130 when interrupted.
    """
    own = words is None
    if own:
        fill_closed_streams()
        watch_signals(lambda: KEPT)
    code = guarded(lambda: _run(sys.argv[1:] if words is None else words), _say, lambda: KEPT)
    if own:
        leave(code)
    return code


def _run(words: list[str]) -> int:
    try:
        arguments = parse(words)
    except SystemExit:  # --help
        write_out("")
        return 0
    # numpy and the engines are loaded only once it is clear that something is to run.
    from modelport.ais_bench.log import Log
    from modelport.ais_bench.session import run

    log = Log(arguments.debug)
    if arguments.threads > 1:
        log.note(f"--threads {arguments.threads}: read, compute and write overlap; the threads share one model")
    if arguments.idle_threads:
        log.note("--threads makes no difference without --pipeline: one thread computes")
    run(arguments, log)
    return 0


def _say(found: str, fix: str) -> None:
    message = f"[ERROR] {found}\n  fix: {fix}" if fix else f"[ERROR] {found}"
    sys.stderr.write(plain_lines(message) + "\n")


if __name__ == "__main__":
    sys.exit(main())
