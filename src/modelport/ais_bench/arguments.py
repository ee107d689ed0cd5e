"""The words of the command line: every flag of ais_bench with its default and its old spellings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelport.core.errors import UsageError, unknown
from modelport.core.options import RUN_SECONDS, refuse_nul

Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # (input, its whole shape)

TRUE_WORDS, FALSE_WORDS = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
LAST_DEVICE = 255

# What only ais_bench itself does, on an Ascend device: flag → (default, what it asks for).
DEVICE_ONLY: dict[str, tuple[Any, str]] = {
    "profiler": (False, "profiling"),
    "profiler_rename": (True, "profiling"),
    "dump": (False, "dumping tensors"),
    "dump_npy": (False, "dumping tensors"),
    "acl_json_path": (None, "a configuration of the device's runtime"),
    "aipp_config": (None, "preprocessing on the device, set at run time"),
    "perf": (False, "another backend's performance tool"),
    "backend": (None, "another backend"),
    "energy_consumption": (False, "measuring the device's power"),
    "npu_id": (0, "measuring the device's power"),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """One call of the tool."""

    model: Path
    words: tuple[str, ...]  # as they were typed
    inputs: tuple[str, ...] = ()  # files or folders; none: pure inference
    output: Path | None = None
    output_dirname: str | None = None
    outfmt: str = "BIN"
    loop: int = 1
    batchsize: int | None = None
    devices: tuple[int, ...] = (0,)
    warmup: int = 1
    pure_data_type: str = "zero"
    display_all_summary: bool = False
    run_mode: str = "array"
    pipeline: bool = False
    threads: int = 1
    axis: int = 0  # along which outputs are split
    dym_batch: int = 0
    dym_hw: tuple[int, int] | None = None
    shapes: Shapes = ()
    shape_range: tuple[Shapes, ...] = ()  # a run for each
    auto_shapes: bool = False  # each file's own shape
    output_size: str | None = None
    divide_input: bool = False
    debug: bool = False
    engine: str | None = None
    timeout: float = RUN_SECONDS  # seconds that one execution may take
    npy_as_bytes: bool = False
    idle_threads: int = 0  # asked for, and not used without --pipeline
    refused: tuple[tuple[str, str], ...] = ()  # (flag, what it asks for) that only ais_bench itself serves


# What is called otherwise than its flag.
FLAGS = {
    "inputs": "input",
    "devices": "device",
    "warmup": "warmup_count",
    "axis": "output_batchsize_axis",
    "output_size": "outputSize",
    "dym_batch": "dymBatch",
    "dym_hw": "dymHW",
    "shape_range": "dymShape_range",
}


def parse(words: list[str]) -> Arguments:
    """Return the call that ``words`` describe. Raises UsageError; ``--help`` prints and leaves."""
    refuse_nul(words)
    parser = _parser()
    found, rest = parser.parse_known_args(words)
    if rest:
        flag = next((word for word in rest if word.startswith("-")), rest[0]).partition("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"'{flag}' belongs to no flag", "several files go into one --input, parted by commas")
        known = [word for action in parser._actions for word in action.option_strings if word.startswith("--")]
        raise UsageError(f"no flag named '{flag}'", unknown("flags", flag, known))
    own: dict[str, Any] = {
        "words": tuple(words),
        "output_dirname": _dirname(found.output, found.output_dirname),
        "threads": found.threads if found.pipeline else 1,  # as there: without --pipeline it is read and not used
        "idle_threads": 0 if found.pipeline else found.threads - 1,
        "shapes": _one_of(found),
        "auto_shapes": found.auto_set_dymshape_mode or found.auto_set_dymdims_mode,
        "refused": tuple(
            (flag, wish) for flag, (default, wish) in DEVICE_ONLY.items() if getattr(found, flag) != default
        ),
    }
    plain = {name: getattr(found, FLAGS.get(name, name)) for name in Arguments.__slots__ if name not in own}
    return Arguments(**own, **plain)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see python -m modelport.ais_bench --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m modelport.ais_bench",
        description="Inference from tensor files to tensor files, with ais_bench's flags and files, on any engine.",
        allow_abbrev=False,
    )
    _add_files(parser)
    _add_running(parser)
    _add_shapes(parser)
    _add_device_only(parser)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", "-m", "--om", type=Path, required=True, help="model file: .onnx, .xml (OpenVINO) or .om (Ascend)")
    add(
        "--input",
        "-i",
        type=_parts,
        default=(),
        help="files (.bin, .npy) or folders of them, one per model input, parted by commas",
    )
    add("--output", "-o", type=Path, help="folder for the results; without it nothing is written")
    add("--output_dirname", help="name of the folder inside --output (default: the time)")
    add("--outfmt", default="BIN", choices=("BIN", "NPY", "TXT"), help="format of the results (default BIN)")
    add(
        "--npy_as_bytes", "--npy-as-bytes", action="store_true",
        help="take a .npy file's bytes whatever its dtype and shape, as ais_bench does",
    )  # fmt: skip
    add("--output_batchsize_axis", type=_at_least(0), default=0, help="axis along which outputs are split (default 0)")
    add("--pure_data_type", default="zero", choices=("zero", "random"), help="input where --input is left out")


def _add_running(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--engine", help="openvino, onnxruntime, ascend (default: the fastest usable one that takes the file)")
    add("--device", "-d", "--device_id", type=_devices, default=(0,), help="0-255, or several parted by commas")
    add("--loop", "-l", "-r", type=_at_least(1), default=1, help="repeats of each execution (default 1)")
    add("--warmup_count", "--warmup-count", type=_at_least(0), default=1, help="runs before the first (default 1)")
    add("--batchsize", type=_at_least(1), help="batch of a model whose batch is free; else only for the throughput")
    add("--run_mode", default="array", choices=("array", "files", "tensor", "full"), help="(default array)")
    add("--pipeline", type=_boolean, default=False, help="read, compute and write at the same time")
    add("--threads", type=_at_least(1), default=1, help="computing threads of --pipeline; without it one computes")
    add("--timeout", type=float, default=RUN_SECONDS, help="seconds that one execution may take (default %(default)g)")
    add("--divide_input", type=_boolean, default=False, help="share the files out among several devices")
    add("--display_all_summary", type=_boolean, default=False, help="print the copies' times as well")
    add("--debug", type=_boolean, default=False, help="print every execution's time")


def _add_shapes(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dymBatch", type=_at_least(0), default=0, help="batch of a model whose batch is free")
    add("--dymHW", type=_height_width, help="'224,224': height and width of a model where they are free")
    add("--dymDims", type=_shapes, help="'data:1,600;info:1,600': shapes of a model's free inputs")
    add("--dymShape", "--dym-shape", type=_shapes, help="as --dymDims")
    add("--dymShape_range", type=_shape_range, default=(), help="'data:1~2,3,224-300,224': a run of each shape")
    add("--outputSize", help="memory for outputs; engines that find it themselves pass over it")
    add("--auto_set_dymshape_mode", type=_boolean, default=False, help="each .npy file's own shape")
    add("--auto_set_dymdims_mode", type=_boolean, default=False, help="as --auto_set_dymshape_mode")


def _add_device_only(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("only ais_bench itself, on an Ascend device")
    for flag, (default, wish) in DEVICE_ONLY.items():
        kind: Callable[[str], Any] = _boolean if isinstance(default, bool) else str
        group.add_argument(f"--{flag}", type=_devices_or_zero if flag == "npu_id" else kind, default=default, help=wish)


def _parts(word: str) -> tuple[str, ...]:
    return tuple(word.split(","))


def _boolean(word: str) -> bool:
    if word.lower() not in TRUE_WORDS + FALSE_WORDS:
        raise argparse.ArgumentTypeError(f"'{word}' is neither true nor false; give one of true, false, 1, 0")
    return word.lower() in TRUE_WORDS


def _at_least(least: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", word) or int(word) < least:
            raise argparse.ArgumentTypeError(f"'{word}' is no whole number of at least {least}")
        return int(word)

    return number


def _devices(word: str) -> tuple[int, ...]:
    parts = word.split(",")
    if not all(re.fullmatch(r"\d{1,3}", part) and int(part) <= LAST_DEVICE for part in parts):
        raise argparse.ArgumentTypeError(f"'{word}': a device is a number from 0 to {LAST_DEVICE}")
    return tuple(map(int, parts))


def _devices_or_zero(word: str) -> int | tuple[int, ...]:
    devices = _devices(word)
    return 0 if devices == (0,) else devices


def _height_width(word: str) -> tuple[int, int]:
    sizes = _sizes(word)
    if len(sizes) != 2:
        raise argparse.ArgumentTypeError(f"'{word}': give height and width, as in 224,224")
    return sizes[0], sizes[1]


def named_parts(word: str, example: str) -> list[tuple[str, str]]:
    """Return the inputs that a word names, each with the text of its shape. Raises ArgumentTypeError."""
    # A tensor's name may hold colons itself.
    parts = [part.rpartition(":") for part in word.split(";")]
    for name, colon, text in parts:
        if not colon or not name:
            raise argparse.ArgumentTypeError(f"'{name}{colon}{text}': give name and shape, as in {example}")
    if len({name for name, _, _ in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"'{word}' names an input twice")
    return [(name, text) for name, _, text in parts]


def _shapes(word: str) -> Shapes:
    return tuple((name, _sizes(text)) for name, text in named_parts(word, "data:1,3,224,224"))


def _shape_range(word: str) -> tuple[Shapes, ...]:
    from modelport.ais_bench.shape_ranges import ranges_of

    return ranges_of(word)


def _sizes(word: str) -> tuple[int, ...]:
    parts = word.split(",")
    if not all(re.fullmatch(r"[1-9]\d{0,9}", part) for part in parts):
        raise argparse.ArgumentTypeError(f"'{word}': sizes are whole numbers of at least 1, parted by commas")
    return tuple(map(int, parts))


def _one_of(found: argparse.Namespace) -> Shapes:
    """Return the shapes that were given. Raises UsageError where two ways of giving them meet."""
    ways = {
        "--dymBatch": found.dymBatch,
        "--dymHW": found.dymHW,
        "--dymDims": found.dymDims,
        "--dymShape": found.dymShape,
        "--dymShape_range": found.dymShape_range,
        "--auto_set_dymshape_mode": found.auto_set_dymshape_mode,
        "--auto_set_dymdims_mode": found.auto_set_dymdims_mode,
    }
    given = [flag for flag, value in ways.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} say the same thing in several ways", "give one of them")
    return tuple(found.dymDims or found.dymShape or ())


def _dirname(output: Path | None, dirname: str | None) -> str | None:
    """Return the name of the folder inside ``--output``, without a trailing slash."""
    if dirname is None:
        return None
    if output is None:
        raise UsageError("--output_dirname names a folder inside --output, which is missing", "give --output as well")
    inside = Path(dirname)
    if inside.is_absolute():
        raise UsageError(f"--output_dirname {dirname} is an absolute path", "give a name inside --output")
    if ".." in inside.parts or not inside.name:
        raise UsageError(f"--output_dirname {dirname} leaves --output, or is --output itself", "give a name inside it")
    return str(inside)
