"""``doctor``: what of every engine is usable here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from modelport.engines.base import Availability
from modelport.engines.registry import availabilities
from modelport.report.result import environment


def doctor() -> dict[str, Any]:
    """Return ``modelport.doctor/1``: each engine, the fastest first, and the machine."""
    return {
        "schema": "modelport.doctor/1",
        "engines": {name: _told(entry) for name, entry in availabilities().items()},
        "environment": environment(),
    }


def _told(entry: Availability) -> dict[str, Any]:
    pairs = {"refused": dict(entry.refused), "accuracy_only": dict(entry.accuracy_only)}
    return asdict(entry) | pairs
