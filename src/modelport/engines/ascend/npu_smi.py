"""Which Ascend chip is in this machine, as ``npu-smi info`` tells."""

from __future__ import annotations

import re
import shutil
import subprocess

from modelport.core.errors import EngineError, UsageError

PROGRAM = "npu-smi"
PREFIX = "Ascend"
_CHIP = re.compile(r"[0-9]{3}[0-9A-Za-z_]*")
_SECONDS = 60


def soc_version(given: str | None, device: int) -> str:
    """Return ATC's name of the chip: the one given, with or without ``Ascend``, else the one that is found.

    Raises UsageError for a word that is no chip's name, EngineError where none is given and none is found.
    """
    if given is None:
        return PREFIX + found_chip(device)
    name = given.removeprefix(PREFIX)
    if not _CHIP.fullmatch(name):
        raise UsageError(
            f"--soc {given}: no chip's name", "give what `npu-smi info` shows, such as 310P3 or Ascend310P3"
        )
    return PREFIX + name


def found_chip(device: int) -> str:
    """Return the name of a device's chip, such as ``310P3``. Raises EngineError where npu-smi does not tell."""
    fix = "name the chip by --soc, such as --soc 310P3, or install the driver, which brings npu-smi"
    program = shutil.which(PROGRAM)
    if program is None:
        raise EngineError("the chip is not known: there is no npu-smi on the PATH", fix)
    try:
        words, nothing = [program, "info"], subprocess.DEVNULL
        answer = subprocess.run(
            words, stdin=nothing, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"the chip is not known: {program} info: {error}", fix) from error
    chips = chips_in(answer.stdout) if answer.returncode == 0 else {}
    if not chips:
        said = (answer.stderr or answer.stdout).strip().splitlines()[-1:] or ["no table"]
        raise EngineError(f"the chip is not known: npu-smi info left with {answer.returncode}: {said[0]}", fix)
    if device not in chips:
        known = ", ".join(f"{number} ({name})" for number, name in sorted(chips.items()))
        raise EngineError(f"there is no device {device}", f"choose one of: {known}")
    return chips[device]


def chips_in(table: str) -> dict[int, str]:
    """Return the chip's name by device number, from the table of ``npu-smi info``."""
    chips: dict[int, str] = {}
    name, card = "", 0
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        words = cells[0].split() if cells else []
        has_bus = len(cells) > 1 and ":" in cells[1]
        if len(words) == 2 and words[0].isdecimal() and _CHIP.fullmatch(words[1]) and not has_bus:
            card, name = int(words[0]), words[1]
        elif name and words and all(word.isdecimal() for word in words) and has_bus:
            # A chip's row: its place on the card and, where there is one, the device's number.
            chips[int(words[1]) if len(words) == 2 else card] = name
    return chips
