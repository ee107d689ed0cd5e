"""What of an answer is the same on every machine and day: the rest is cut, so that the rest of it can be compared."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

# Below these keys nothing but the keys themselves is the same twice.
VOLATILE = {
    *("environment", "started", "seconds", "throughput", "latency_ms", "stages_ms", "speed_warnings"),
    *("decoders", "runs_in_flight", "points", "best", "flags", "ours", "ratio", "concurrency_search", "threads"),
    # One sample on another side moves a class by more than it moves the whole.
    *("per_class", "confusions"),
}
# Differences of outputs by rounding: only that they are small is the same on two machines.
ROUNDING = 1e-3
DIGEST = re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{32})\b")
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def normal_form(value: Any, places: Mapping[str, str]) -> Any:
    """Return a JSON value without clocks, digests and folders. ``places``: text → what stands for it."""
    if isinstance(value, Mapping):
        return {key: shape_of(entry) if key in VOLATILE else normal_form(entry, places) for key, entry in value.items()}
    if isinstance(value, list):
        return [normal_form(entry, places) for entry in value]
    if isinstance(value, str):
        return _plain(value, places)
    if isinstance(value, float) and 0 < abs(value) < ROUNDING:
        return "<rounding>"
    return value


def shape_of(value: Any) -> Any:
    """Return the keys alone: what is measured differs each time."""
    if isinstance(value, Mapping):
        return {key: "<packages>" if key == "packages" else shape_of(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return "<list>"
    return "<null>" if value is None else f"<{type(value).__name__}>".replace("<int>", "<float>")


def _plain(text: str, places: Mapping[str, str]) -> str:
    for place, name in sorted(places.items(), key=lambda entry: -len(entry[0])):
        text = text.replace(place, name)
    return DIGEST.sub("<digest>", text)


def differences(got: Any, want: Any, tolerance: float, where: str = "") -> list[str]:
    """Return where two normal forms differ; numbers may by ``tolerance`` and as much of their own size."""
    if isinstance(got, dict) and isinstance(want, dict):
        lost, new = sorted(want.keys() - got.keys()), sorted(got.keys() - want.keys())
        found = [f"{where}: {name} is gone" for name in lost] + [f"{where}: {name} is new" for name in new]
        for key in want.keys() & got.keys():
            found += differences(got[key], want[key], tolerance, f"{where}.{key}")
        return found
    if isinstance(got, list) and isinstance(want, list) and len(got) != len(want):
        stored, now = ([json.dumps(entry, ensure_ascii=False) for entry in side] for side in (want, got))
        return [f"{where}: {line}" for line in difflib.unified_diff(stored, now, "stored", "now", lineterm="", n=0)]
    if isinstance(got, list) and isinstance(want, list):
        return [
            line
            for place, (one, other) in enumerate(zip(got, want, strict=True))
            for line in differences(one, other, tolerance, f"{where}[{place}]")
        ]
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (got, want)]
    if all(numbers) and abs(got - want) <= tolerance * max(1.0, abs(want)):
        return []
    if isinstance(got, str) and isinstance(want, str) and _same_words(got, want, tolerance):
        return []
    return [] if got == want else [f"{where}: {got!r}, stored is {want!r}"]


def _same_words(got: str, want: str, tolerance: float) -> bool:
    """Whether two sentences have the same words, and numbers that differ by the tolerance at most."""
    if not tolerance or NUMBER.sub("#", got) != NUMBER.sub("#", want):
        return False
    pairs = zip(NUMBER.finditer(got), NUMBER.finditer(want), strict=True)
    return all(
        abs(float(one[0]) - float(other[0])) <= max(tolerance * max(1.0, abs(float(other[0]))), ROUNDING)
        for one, other in pairs
    )
