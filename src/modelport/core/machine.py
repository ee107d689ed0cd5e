"""What this machine is."""

from __future__ import annotations

import os
from pathlib import Path

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
    """Return the processor's name, or ``unknown``."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return set()
    return set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
