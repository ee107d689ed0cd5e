"""The public names: those of docs/api.md, which does as the verbs do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
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
    assert alone.verdict == "incomplete" and alone.companions is None and "source_agreement" not in alone.metrics
    # Of a source that lacks an answer nothing is compared.
    part = mp.judge(recipe, answers, source=mp.answer(source, data[:10]))
    assert part.n == 20 and part.metrics["top1"] == result.metrics["top1"]


CLOCKS = ("started", "seconds", "throughput", "latency_ms", "stages_ms", "speed_warnings", "published_speeds")


def _judged(recipe: mp.Recipe, source: Any, data: Any, keep: tuple[Path | None, Path | None]) -> str:
    model = mp.build(source, engine="null", precision="bf16")
    ours, theirs = mp.answer(model, data, keep=keep[0]), mp.answer(source, data, keep=keep[1])
    value = mp.judge(recipe, ours, source=theirs).to_json()
    return json.dumps({name: entry for name, entry in value.items() if name not in CLOCKS})


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "contrastive"])
def test_judged_from_a_store_is_judged_from_memory(
    task: str,
    null_path: Path,
    null_weights: Path,
    tiny_data: Path,
    cifar: Path,
    tmp_path: Path,
) -> None:
    recipe, weights, folder = mp.load_recipe(str(null_path)), null_weights, tiny_data
    if task == "contrastive":  # two rows of each sample, by the null engine as well
        told = mp.load_recipe("simclr").model_dump(mode="json", by_alias=True)
        told["model"]["architecture"] = "null"
        recipe, weights, folder = mp.Recipe.model_validate(told), tmp_path / "views.npz", cifar
        np.savez(weights, allow_pickle=False, output=np.random.default_rng(0).standard_normal((65, 128)))
    source, data = mp.source(recipe, weights=weights), mp.open_dataset(recipe, folder)
    held = _judged(recipe, source, data, (None, None))
    assert '"source_agreement"' in held
    assert _judged(recipe, source, data, (tmp_path / "a", tmp_path / "b")) == held
    # Either side may lie in a store.
    assert _judged(recipe, source, data, (None, tmp_path / "c")) == held
    assert _judged(recipe, source, data, (tmp_path / "d", None)) == held
    with pytest.raises(mp.ModelportError, match="answers are kept there already"):
        mp.answer(source, data, keep=str(tmp_path / "a"))


def test_batches_are_what_a_network_of_the_recipe_gets(tiny: mp.Recipe, tiny_data: Path) -> None:
    data = mp.open_dataset(tiny, tiny_data)[:5]
    for pixels, shape, dtype in ((False, (4, 3, 32, 32), "float32"), (True, (4, 32, 32, 3), "uint8")):
        made = list(mp.batches(tiny, data, 4, pixels=pixels))
        assert [row for batch in made for row in batch.ids] == [sample.id for sample in data]
        for batch in made:
            (array,) = batch.inputs.values()
            assert array.shape == shape and array.dtype == dtype


@pytest.mark.slow
def test_random_weights_fit_and_hang_on_the_seed_alone(tiny: mp.Recipe, tmp_path: Path) -> None:
    paths = [mp.random_weights(tiny, tmp_path / name / "w.pth", seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    sources = [mp.source(tiny, weights=path) for path in paths]
    assert sources[0].artifact.sha256 == sources[1].artifact.sha256 != sources[2].artifact.sha256
    with pytest.raises(mp.ModelportError, match="no architecture named 'null'"):
        mp.random_weights(
            tiny.model_copy(update={"model": tiny.network.model_copy(update={"architecture": "null"})}),
            tmp_path / "w.pth",
        )


def test_an_export_is_a_model_and_a_file_is_opened_as_it_is(tiny: mp.Recipe, tiny_weights: Path) -> None:
    graph = mp.export(mp.source(tiny, weights=tiny_weights))
    assert graph.path.suffix == ".onnx"
    rows = {tiny.tensors.inputs[0].name: np.random.default_rng(0).standard_normal((8, 3, 32, 32), np.float32)}
    with graph.open() as runner, mp.open_model(graph.path, "onnxruntime", "fp32", wish=mp.Wish(threads=1)) as alone:
        assert [spec.name for spec in runner.signature.outputs] == [tiny.tensors.outputs[0].name]
        (want,), (got,) = runner.run(rows).values(), alone.run(rows).values()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(mp.ModelportError, match="not a model file"), mp.open_model(tiny_weights):
        pass


def test_the_names_are_on_the_page_and_nothing_heavy_is_loaded() -> None:
    for name in mp.__all__:
        assert name.startswith("__") or f"`{name}(" in PAGE or f"`{name}`" in PAGE
        assert getattr(mp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mp.nothing  # noqa: B018
    probe = "import sys, modelport; print({'numpy', 'pydantic', 'torch', 'onnx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "set()"
