"""``python -m modelport.ais_bench``: the entry, and what becomes of errors."""

from __future__ import annotations

import sys

from modelport.ais_bench.arguments import parse
from modelport.core.errors import EXIT_USAGE, ModelportError


def main(words: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for wrong usage or bad input, 130 when interrupted."""
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
        # numpy and the engines are loaded only once it is clear that something is to run.
        from modelport.ais_bench.log import Log
        from modelport.ais_bench.session import run

        log = Log(arguments.debug)
        if arguments.threads > 1:
            log.note(f"--threads {arguments.threads}: read, compute and write overlap; the threads share one model")
        if arguments.idle_threads:
            log.note("--threads makes no difference without --pipeline: one thread computes")
        run(arguments, log)
    except ModelportError as error:
        sys.stderr.write(f"[ERROR] {error}\n")
        return error.exit_code
    except MemoryError:
        sys.stderr.write("[ERROR] out of memory\n  fix: run a smaller batch, or fewer --threads\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("[ERROR] interrupted; every result that was written is whole\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
