"""Imports point down the floors, vendor packages stay in their rooms, and nothing heavy is imported at the door."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import modelport

SOURCE = Path(__file__).parents[1] / "src" / "modelport"
FLOORS = [
    {"core"},
    {"recipes"},
    {"model", "data", "tasks"},
    {"engines", "verdict"},
    {"measure"},
    {"evaluate"},
    {"stages", "report"},
    {"diagnose"},
    {"jobs"},
    {"api", "cli", "ais_bench"},
]
ROOMS = {
    "torch": ("model/", "engines/torch.py"),
    "onnx": ("model/", "diagnose/", "engines/onnxruntime/", "engines/ascend/"),
    "onnxscript": ("model/",),
    "safetensors": ("model/",),
    "timm": ("model/architectures/",),
    "torchvision": ("model/architectures/",),
    "onnxruntime": ("engines/onnxruntime/",),
    "openvino": ("engines/openvino/",),
    "nncf": ("engines/openvino/",),
    "ais_bench": ("engines/ascend/",),
    "aclruntime": ("engines/ascend/",),
    "PIL": ("data/", "report/pictures.py"),
    "numba": ("data/prepare/",),
    "cv2": ("data/prepare/",),
    "faster_coco_eval": ("tasks/detection/", "tasks/instances/"),
    "typer": ("cli/",),
    "rich": ("cli/",),
}


def _imports(file: Path, everywhere: bool) -> set[str]:
    tree = ast.parse(file.read_text())
    hidden = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if not everywhere and node in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_down(file: Path) -> None:
    own = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    level = next((index for index, floor in enumerate(FLOORS) if own in floor), len(FLOORS))
    for name in _imports(file, everywhere=True):
        parts = name.split(".")
        if parts[0] != "modelport" or len(parts) < 2 or parts[1] == "__version__" or parts[1] == own:
            continue
        there = next(index for index, floor in enumerate(FLOORS) if parts[1] in floor)
        assert there < level, f"{own} imports {name}"


DIAGNOSIS = SOURCE / "diagnose"


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in DIAGNOSIS.rglob("*.py")}), ids=lambda one: str(one.relative_to(SOURCE))
)
def test_rooms_of_diagnosis_need_each_other_one_way(folder: Path) -> None:
    """Neither its rooms nor the files of one of them import each other in a circle."""
    start = f"modelport.{'.'.join(folder.relative_to(SOURCE).parts)}."
    needs: dict[str, set[str]] = {}
    for file in folder.rglob("*.py"):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        inside = {name.removeprefix(start).partition(".")[0] for name in _imports(file, True) if name.startswith(start)}
        needs.setdefault(own, set()).update(inside - {own})
    assert any(needs.values())
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_vendor_packages_stay_in_their_rooms(file: Path) -> None:
    place = file.relative_to(SOURCE).as_posix()
    for name in _imports(file, everywhere=True):
        rooms = ROOMS.get(name.partition(".")[0])
        assert rooms is None or place.startswith(rooms), f"{place} imports {name}"


SCRIPTS = sorted((SOURCE.parents[1] / "benchmarks").glob("*.py"))
# Beside the public names: the clocks, the command line, whose verbs are measured, the statistics of verdicts with the
# values that they take, which are replayed, and diagnosis, whose faults are planted, with what it takes.
VALUES = (
    "modelport.tasks.paired",
    "modelport.tasks.judged",
    "modelport.tasks.table",
    "modelport.recipes.tables",
    "modelport.recipes.toml",
)
PUBLIC = ("modelport.measure.", "modelport.cli.main", "modelport.verdict", "modelport.diagnose.", *VALUES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_benchmarks_use_what_users_have(script: Path) -> None:
    """Also in the programs that they hold as text; whatever a ``mp.NAME`` stands for is public."""
    assert SCRIPTS
    text = script.read_text(encoding="utf-8")
    for name in set(re.findall(r"^\s*(?:from|import) (modelport(?:\.\w+)*)", text, re.MULTILINE)) - {"modelport"}:
        assert name.startswith(PUBLIC), f"{script.name} imports {name}"
    for name in _imports(script, everywhere=True):
        part = name.removeprefix("modelport.").partition(".")[0]
        public = name.startswith(PUBLIC) or part in {"measure", "cli", "diagnose", *modelport.__all__}
        assert not name.startswith("modelport.") or public, name
    for name in re.findall(r"\bmp\.(\w+)", text):
        assert name in modelport.__all__, f"{script.name}: mp.{name}"


def test_the_door_opens_without_anything_heavy() -> None:
    probe = "import sys, modelport.cli.main; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    for package in ("numpy", "torch", "onnx", "onnxruntime", "openvino", "pydantic", "PIL", "rich.table"):
        assert f"'{package}'" not in loaded
