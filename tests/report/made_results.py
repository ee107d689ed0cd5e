"""Result folders as a run leaves them, made without a run, also with whatever others may have written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

HOSTILE = (
    "<script>window.ran=1</script>",
    '"><img src=x onerror="window.ran=1">',
    "' onmouseover='window.ran=1",
    "</style></script><svg onload=window.ran=1>",
    "{{ 7*7 }}{% raw %}",
    "\u202egnp.exe\u2066",
    "a\x1b[31m\x00\x07\u2028b",
    "&lt;b&gt;&#60;i&#62;",
    "javascript:window.ran=1",
    "\udcff",
    "W" * 3000,
)
DIGEST = "0123456789abcdef" * 4
BASE = Path(__file__).with_name("made_result.json")


def check(name: str, verdict: str = "pass", why: str = "as it should be", **more: Any) -> dict[str, Any]:
    """Return a check as the file holds it."""
    return {"name": name, "verdict": verdict, "got": 84.8, "want": 83.9, "why": why, **more}


def value(**changes: Any) -> dict[str, Any]:
    """Return what result.json holds of a run that passes; ``changes`` replace keys of it."""
    told: dict[str, Any] = json.loads(BASE.read_text(encoding="utf-8"))
    return told | changes


def inconclusive(**changes: Any) -> dict[str, Any]:
    """Return a result whose verdict is not certain, on another engine."""
    doubt = check("top1_vs_source", "inconclusive", interval=[-6.28, 5.94], needed_n=2000)
    return value(verdict="inconclusive", engine="onnxruntime", checks=[check("finite"), doubt], **changes)


def hostile(told: Any, words: str) -> Any:
    """Return the value with ``words`` before every text, and in some keys; what modelport itself must read stays."""

    def walked(one: Any, key: str = "") -> Any:
        if key in ("schema", "tolerance"):
            return one
        if isinstance(one, dict):
            return {name: walked(each, name) for name, each in one.items()}
        if isinstance(one, list):
            return [walked(each, key) for each in one]
        return f"{words}{one}" if isinstance(one, str) else one

    found = walked(copy.deepcopy(told))
    for place in (found["metrics"], found["source"]["metrics"], found["environment"]["packages"]):
        place[f"{words}key"] = next(iter(place.values()))
    return found


def folder(path: Path, told: dict[str, Any], change: Callable[[str], str] = str) -> Path:
    """Write a result folder: result.json, and recipe.toml, ``change`` of moco-v2's."""
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps(told), encoding="utf-8")
    recipe = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")
    (path / "recipe.toml").write_bytes(change(recipe).encode("utf-8", "surrogateescape"))
    return path


def hostile_folder(path: Path, told: dict[str, Any], words: str) -> Path:
    """Write a result folder with ``words`` in every text of it."""
    return folder(path, hostile(told, words), lambda text: f"# {words}\n{text}")
