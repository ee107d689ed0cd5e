"""What a user sees of each verb, held against stored files: words, keys and verdicts, whatever moves behind them.

Where behaviour changes on purpose, ``MODELPORT_REPLAY=write python -m pytest tests/replay`` stores it anew; the commit
that holds the changed files says why.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from normal_form import differences, normal_form
from onnx import TensorProto, helper

Call = Callable[..., Any]
STORED = Path(__file__).parent / "stored"
# Vendors round differently on different processors: two of 310 samples may fall on another side.
VENDORS = 0.01
ENGINES = ("openvino", "onnxruntime", "torch")


def _hold(name: str, value: Any, places: dict[str, str], tolerance: float = 0.0) -> None:
    """Hold a value against the stored one, or store it where asked to."""
    got = json.loads(json.dumps(normal_form(value, places)))
    file = STORED / f"{name}.json"
    if os.environ.get("MODELPORT_REPLAY") == "write":
        file.write_text(json.dumps(got, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    found = differences(got, json.loads(file.read_text(encoding="utf-8")), tolerance)
    assert not found, "\n".join([f"{file.name}:", *found])


def _commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every verb, groups and their members."""
    import typer.main

    from modelport.cli.main import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            yield from walk(inner, (*words, name))

    return walk(typer.main.get_command(app), ())


def test_the_help_of_every_verb() -> None:
    """One process for all of them: its terminal is 100 columns wide and has no colours."""
    names = list(_commands())
    script = (
        "import sys, json, io, contextlib\nfrom modelport.cli.main import main\ntold = {}\n"
        f"for words in {names!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        try:\n            main([*words, '--help'])\n        except SystemExit:\n            pass\n"
        "    told[' '.join(words)] = [line.rstrip() for line in out.getvalue().splitlines()]\n"
        "print(json.dumps(told))"
    )
    place = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=place)
    told = json.loads(done.stdout)
    assert len(told) > 15 and all(told.values())
    _hold("help", told, {})


@pytest.fixture(scope="module")
def places(
    tiny_path: Path, tiny_weights: Path, tiny_data: Path, own_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    return {
        str(tiny_path): "<recipe>",
        str(tiny_weights): "<weights>",
        str(tiny_data): "<data>",
        str(own_cache): "<cache>",
    }


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_run(
    engine: str,
    call: Call,
    tiny_path: Path,
    tiny_weights: Path,
    tiny_data: Path,
    tmp_path: Path,
    places: dict[str, str],
) -> None:
    given = ["--weights", tiny_weights, "--data", tiny_data, "--out", tmp_path / "out", "--engine", engine]
    answer = call("run", tiny_path, *given, "--batch", 8, "--json")
    lines = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8").splitlines()
    value = {
        "exit": answer.code,
        "result": answer.json,
        # Whether there are thumbnails hangs on whether any answer flips.
        "files": sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()),
        "prediction_keys": sorted(json.loads(lines[0])),
        "predictions": len(lines),
        "report_headings": [line for line in report if line.startswith("#")],
    }
    _hold(f"run-{engine}", value, places | {str(tmp_path): "<tmp>"}, VENDORS)


def test_evaluate(call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path, places: dict[str, str]) -> None:
    """Saved outputs that were made by arithmetic alone: each sample's own class first, every third one wrong."""
    import numpy as np

    results = tmp_path / "results"
    results.mkdir()
    for number, line in enumerate((tiny_data / "val_label.txt").read_text().splitlines()):
        name, label = line.split()
        scores = np.random.default_rng(number).uniform(0, 1, (1, 10)).astype(np.float32)
        scores[0, (int(label) + (number % 3 == 0)) % 10] = 2
        scores.tofile(results / f"{Path(name).stem}_0.bin")
    answer = call("evaluate", tiny_path, "--results", results, "--data", tiny_data, "--json")
    _hold("evaluate", {"exit": answer.code, "result": answer.json}, places | {str(tmp_path): "<tmp>"})


def test_bench(call: Call, tiny_path: Path, tiny_weights: Path, tmp_path: Path, places: dict[str, str]) -> None:
    words = ["--weights", tiny_weights, "--engine", "onnxruntime", "--batch", "1,4", "--duration", "0.01"]
    answer = call("bench", tiny_path, *words, "--concurrency", 1, "--json")
    value = answer.json
    points = [dict.fromkeys(point) for point in value["points"]]
    _hold("bench", {"exit": answer.code, "result": value, "point_keys": points}, places)


@pytest.mark.parametrize("name", ["moco-v2", "nas-fpn"])
def test_compile_dry_run(name: str, call: Call, tmp_path: Path) -> None:
    from modelport.recipes.load import load_recipe

    recipe = load_recipe(name)
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, kinds[t.dtype], ["batch", *t.shape[1:]]) for t in tensors]
        for tensors in (recipe.tensors.inputs, recipe.tensors.outputs)
    )
    nodes = [
        helper.make_node("Cast", [inputs[0].name], [out.name], f"Out_{place}", to=kinds[out.dtype])
        for place, out in enumerate(recipe.tensors.outputs)
    ]
    graph = helper.make_graph(nodes, name, inputs, outputs)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)
    words = ["--engine", "ascend", "--soc", "Ascend310P3", "--batch", 8, "--out", tmp_path / "net.om", "--dry-run"]
    answer = call("compile", name, path, *words, "--json")
    _hold(f"compile-{name}", {"exit": answer.code, "result": answer.json}, {str(tmp_path): "<tmp>"})
