"""The public names: those of docs/api.md, which does as the verbs do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelport as mp
from conftest import Call

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs_and_gives_what_run_gives(
    call: Call,
    tiny_path: Path,
    tiny_weights: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names = {"moco-v2": tiny_path, "best.pth.tar": tiny_weights, "ILSVRC2012": tiny_data}
    for shown, there in names.items():
        assert f'"{shown}"' in code
        code = code.replace(f'"{shown}"', repr(str(there)))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "api.md", "exec"), {})  # noqa: S102 - the page's own example
    assert capsys.readouterr().out.startswith("pass ")
    ours = json.loads((tmp_path / "report" / "result.json").read_text())
    words = ("--weights", tiny_weights, "--data", tiny_data, "--out", "ran", "--engine", "onnxruntime")
    theirs = call("run", tiny_path, *words, "--json").json
    for key in ("verdict", "metrics", "checks", "dataset", "artifacts", "published", "rests_on"):
        assert ours[key] == theirs[key], key
    lines = [(tmp_path / folder / "predictions.jsonl").read_bytes() for folder in ("report", "ran")]
    assert lines[0] == lines[1]


def test_a_result_is_read_as_it_was_written(
    null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    recipe = mp.load_recipe(str(null_path))
    source = mp.source(recipe, weights=null_weights)
    model = mp.build(source, engine="null", wish=mp.Wish(batch=3))
    data = mp.open_dataset(recipe, tiny_data)[:20]
    answers = mp.answer(model, data)
    assert answers.outcome.batch == 3 and sum(len(rows.ids) for rows in answers.rows) == 20
    result = mp.judge(recipe, answers, source=mp.answer(source, data), out=tmp_path / "out")
    assert result.metrics["source_agreement"].value == 100.0 and result.verdict == "inconclusive"
    assert mp.Result.from_json(json.loads((tmp_path / "out" / "result.json").read_text())) == result
    # Without a source there is nothing that the engine is held against, and no file that nobody asked for.
    alone = mp.judge(recipe, answers)
    assert alone.verdict == "inconclusive" and alone.companions is None and "source_agreement" not in alone.metrics
    # Of a source that lacks an answer nothing is compared.
    part = mp.judge(recipe, answers, source=mp.answer(source, data[:10]))
    assert part.n == 20 and part.metrics["top1"] == result.metrics["top1"]


def test_an_export_is_a_model(tiny: mp.Recipe, tiny_weights: Path) -> None:
    graph = mp.export(mp.source(tiny, weights=tiny_weights))
    assert graph.path.suffix == ".onnx"
    with graph.open() as runner:
        assert [spec.name for spec in runner.signature.outputs] == [tiny.tensors.outputs[0].name]


def test_the_names_are_on_the_page_and_nothing_heavy_is_loaded() -> None:
    for name in mp.__all__:
        assert name.startswith("__") or name in PAGE
        assert getattr(mp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mp.nothing  # noqa: B018
    probe = "import sys, modelport; print({'numpy', 'pydantic', 'torch', 'onnx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "set()"
