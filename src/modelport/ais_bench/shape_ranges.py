"""``--dymShape_range``: the shapes that it spells, and one run of each with a table at the end."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

from modelport.ais_bench.arguments import Arguments, Shapes, named_parts
from modelport.ais_bench.log import Log
from modelport.ais_bench.outputs import folder_name
from modelport.core.errors import EngineError, ModelportError

# More than anybody waits for; each is a run of its own.
MAX_SHAPES = 10_000
_SPAN = re.compile(r"([1-9]\d{0,9})~([1-9]\d{0,9})(?:~([1-9]\d{0,9}))?")
_CHOICE = re.compile(r"[1-9]\d{0,9}(?:-[1-9]\d{0,9})*")


def shapes_of(word: str) -> tuple[Shapes, ...]:
    """Return every shape that a range spells, the last axis running fastest.

    ``data:1~2,3,224-300,224~256~8;info:1,600``: ``a~b`` and ``a~b~step`` are all sizes from a to b, ``a-b-c`` those
    sizes alone; ``;`` parts the inputs. Raises ArgumentTypeError for anything else and for more than 10,000 shapes.
    """
    parts = named_parts(word, "data:1,3,224~230,224")
    inputs = [(name, [_sizes(axis) for axis in axes.split(",")]) for name, axes in parts]
    count = prod(len(sizes) for _, axes in inputs for sizes in axes)
    if count > MAX_SHAPES:
        raise argparse.ArgumentTypeError(f"'{word}' spells {count} shapes; at most {MAX_SHAPES} are run")
    each = [[(name, shape) for shape in product(*axes)] for name, axes in inputs]
    return tuple(product(*each))


def ranges_of(word: str) -> tuple[Shapes, ...]:
    """Return the shapes of a range, or of a file that holds one to a line. Raises ArgumentTypeError."""
    from modelport.core.files import read_regular_text

    file = Path(word)
    if ":" in word and not file.is_file():
        return shapes_of(word)
    try:
        lines = read_regular_text(file, limit=1024 * 1024).split()
    except ModelportError as error:
        raise argparse.ArgumentTypeError(f"neither a range nor a file of ranges: {error.found}") from error
    return tuple(shapes for line in lines for shapes in shapes_of(line))


def run_each(arguments: Arguments, run: Callable[[Arguments], float], log: Log) -> None:
    """Run every shape and print a line for each, the fastest first, with the counts.

    A shape that fails is told and the others go on. Raises EngineError where none succeeds.
    """
    done: list[tuple[str, int, float | None]] = []  # the shape, its batch and its throughput, None where it failed
    base = None if arguments.output is None else folder_name(arguments.output, arguments.output_dirname)
    for index, shapes in enumerate(arguments.shape_range):
        text, rate = ";".join(f"{name}:{','.join(map(str, shape))}" for name, shape in shapes), None
        try:
            rate = run(replace(arguments, shapes=shapes, shape_range=(), output_dirname=base and f"{base}_{index}"))
        except ModelportError as error:
            log.warn(f"dymshape:{text}: {error}")
        done.append((text, shapes[0][1][0], rate))
        log.info(f"dymshape:{text} end run result:{_word(rate)}")
    rates = [rate for _, _, rate in done if rate is not None]
    log.info("-----------------dyshape_range Performance Summary------------------")
    mean = sum(rates) / len(rates) if rates else 0.0
    log.info(f"run_count:{len(done)} success_count:{len(rates)} avg_throughput:{mean}")
    for index, (text, batch, rate) in enumerate(sorted(done, key=lambda one: -(one[2] or 0.0))):
        log.info(f"{index} dymshape:{text} bs:{batch} result:{_word(rate)} throughput:{rate or 0}")
    log.info("------------------------------------------------------")
    if not rates:
        raise EngineError(f"none of the {len(done)} shapes of --dymShape_range could be run", "see the warnings above")


def _sizes(axis: str) -> list[int]:
    if span := _SPAN.fullmatch(axis):
        first, last, step = int(span[1]), int(span[2]), int(span[3] or 1)
        sizes = range(first, last + 1, step)
        if 0 < len(sizes) <= MAX_SHAPES:
            return list(sizes)
    elif _CHOICE.fullmatch(axis):
        return [int(size) for size in axis.split("-")]
    raise argparse.ArgumentTypeError(f"'{axis}': give a size, a~b, a~b~step or a-b-c, as in 224~256~8")


def _word(rate: float | None) -> str:
    return "Failed" if rate is None else "OK"
