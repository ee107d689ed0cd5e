"""The options that several verbs share, each with its one text, and what is no value for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from modelport.core import options
from modelport.core.errors import UsageError, unknown
from modelport.core.text import plain

# What torch and NumPy both take for a seed.
MAX_SEED = 2**63 - 1
# Where the input is normalised: before the graph, or in it.
INPUT_TYPES = ("float32", "uint8")

RECIPE = typer.Argument(help="A recipe: its name, or the path of a .toml file.", metavar="RECIPE")
WEIGHTS = typer.Option(None, "--weights", help="The checkpoint; left out, the recipe's own is fetched.", metavar="FILE")
CHECKPOINT_KEY = typer.Option(
    None, "--checkpoint-key", help="Which state dict of the checkpoint, where it holds several.", metavar="KEY"
)
SOURCE = typer.Option(
    None, "--source", help="What defines the right answer, where no checkpoint does.", metavar="FILE.onnx|FILE.pt2|none"
)
DATA = typer.Option(..., "--data", help="The data set, laid out as the guide shows it.", metavar="DIR")
VARIANT = typer.Option(None, "--variant", help="A named departure from the recipe; see `show`.", metavar="V")
CALIBRATION = typer.Option(
    None,
    "--calibration",
    help="Images for int8: a data set (its training split), or a folder of images; none that is scored.",
    metavar="DIR",
)
LIMIT = typer.Option(None, "--limit", help="N samples only, drawn by --order.", metavar="N")
ORDER = typer.Option(
    None,
    "--order",
    help="Which samples come first. Default: random under --limit and --until-decided, else data.",
    metavar="data|random|margin",
)
MAX_SKIPPED = typer.Option(
    options.MAX_SKIPPED, "--max-skipped", help="The share of unreadable images above which nothing passes.", metavar="X"
)
CONFIDENCE = typer.Option(
    options.CONFIDENCE, "--confidence", help="How sure each bound of the drop is to be.", metavar="X"
)
MAX_DROP = typer.Option(None, "--max-drop", help="In place of the recipe's tolerance, in its unit.", metavar="X")
ON_BAD_IMAGE = typer.Option("fail", "--on-bad-image", help="fail, or skip and count.", metavar="fail|skip")
TIMEOUT = typer.Option(
    options.RUN_SECONDS, "--timeout", help="Seconds that one run of one batch may take.", metavar="SECONDS"
)
ENGINE = typer.Option(None, "--engine", help="Default: the fastest usable one.", metavar="E")
STYLE = typer.Option(
    "modelport", "--style", help="guide: names, order and JSON of the guide's scripts.", metavar="modelport|guide"
)
FORCE = typer.Option(False, "--force", help="Replace a result that lies there.")
NO_THUMBNAILS = typer.Option(False, "--no-thumbnails", help="Put no small pictures of samples into --out.")
DRAW = typer.Option(
    None, "--draw", help="Detectors: pictures with the boxes go here (see --draw-threshold).", metavar="DIR"
)
DRAW_THRESHOLD = typer.Option(
    None, "--draw-threshold", help="Lowest score that --draw shows. Default: 0.5.", metavar="X"
)
DETECTIONS = typer.Option(
    None, "--detections", help="Detectors: text files `class score left top right bottom` go here.", metavar="DIR"
)
COCO_JSON = typer.Option(None, "--coco-json", help="Detectors: COCO's result list.", metavar="FILE")


SHAPE = typer.Option(
    [],
    "--shape",
    help="The size of an input whose axes the file leaves free; may be given once an input.",
    metavar="NAME:1,3,320,320",
)


def shapes_of(words: Sequence[str]) -> Any:
    """Return (input, shape) of the words of ``--shape``. Raises UsageError for any other word."""
    found: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, _, sizes = word.rpartition(":")
        parts = [part.strip() for part in sizes.split(",")]
        if not name or not all(part.isascii() and part.isdecimal() and 0 < len(part) < 8 for part in parts):
            raise UsageError(f"--shape {plain(word, 60)}", "give it as in --shape images:1,3,320,320")
        if name in found or 0 in map(int, parts):
            raise UsageError(f"--shape {plain(word, 60)}", "name each input once, with sizes of at least 1")
        found[name] = tuple(map(int, parts))
    return tuple(found.items())


def trust_option() -> Any:
    """Return the option ``--trust-code``, which holds for one line."""
    return typer.Option(
        False,
        "--trust-code",
        help="Let the recipe import the module of its architecture: importing runs its code.",
        callback=_trust,
    )


def _trust(wanted: bool) -> bool:
    from modelport.core import trust

    trust.trust_nothing()
    if wanted:
        trust.trust_code()
    return wanted


def source_file(text: str | None) -> Any:
    """Return the file that ``--source`` names, ``none`` for none, None where it was not given."""
    return text if text is None or text == "none" else Path(text)


def seed_option(help: str | None = None) -> Any:
    """Return the option ``--seed``, an integer from 0 to 2**63 - 1."""
    # A range of typer's own would stand in every help text, with its nineteen digits.
    return typer.Option(0, "--seed", help=help, metavar="S", callback=_seed)


def _seed(value: int) -> int:
    if not 0 <= value <= MAX_SEED:
        raise UsageError(f"--seed {value}", f"give an integer from 0 to {MAX_SEED}")
    return value


def batch_size(text: str, fix: str) -> int:
    """Return a batch between 1 and 65,536. Raises UsageError with ``fix`` for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= options.MAX_BATCH):
        raise UsageError(f"--batch {plain(text, 40)}", f"{fix}; a batch is 1 to {options.MAX_BATCH}")
    return int(text)


def batch_or_dynamic(text: str) -> int | None:
    """Return a batch, None for ``dynamic``. Raises UsageError for anything else."""
    return None if text == "dynamic" else batch_size(text, "give a number of at least 1, or dynamic")


def input_word(word: str | None) -> Any:
    """Return the word of ``--input-type``, None where it was not given. Raises UsageError for another word."""
    return None if word is None else one_of("--input-type", word, INPUT_TYPES)


def one_of(option: str, word: str, choices: tuple[str, ...]) -> Any:
    """Return ``word`` where it is one of the choices. Raises UsageError with the nearest one."""
    if word not in choices:
        raise UsageError(f"{option} {word}", unknown("choices", word, choices))
    return word
