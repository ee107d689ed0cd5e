"""What this machine is."""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NO_BF16 = "this processor has no bfloat16 instructions (avx512_bf16, amx_bf16)"


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (read from the kernel; False where it does not tell)."""
    return bool({"avx512_bf16", "amx_bf16"} & _flags())


def has_vnni() -> bool:
    """Whether the processor sums products of bytes in 32 bits (False where the kernel does not tell)."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & _flags())


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name, with family and model where the kernel tells them, or ``unknown``.

    Virtual machines call processors of very different speed by one name.
    """
    told = _told()
    name = told.get("model name", "unknown")
    if "cpu family" in told and "model" in told:
        name += f" (family {told['cpu family']}, model {told['model']})"
    return name


def _flags() -> set[str]:
    return set(_told().get("flags", "").split())


def _told() -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
