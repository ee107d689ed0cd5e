"""The command line: the main job, its files, its exit codes, and one clear message for every bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RESULT_KEYS = {
    "schema", "recipe", "variant", "engine", "precision", "batch", "verdict", "n", "skipped", "metrics",
    "reference", "checks", "throughput", "latency_ms", "artifacts", "environment", "dataset", "seed",
    "command", "started", "seconds",
}  # fmt: skip


Call = Callable[..., Any]


@pytest.fixture
def few(tiny_data: Path, tmp_path: Path) -> Path:
    """Twelve of the images, with their labels."""
    (tmp_path / "few" / "val").mkdir(parents=True)
    lines = (tiny_data / "val_label.txt").read_text().splitlines()[:12]
    (tmp_path / "few" / "val_label.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        shutil.copy(tiny_data / "val" / line.split()[0], tmp_path / "few" / "val")
    return tmp_path / "few"


@pytest.fixture
def run(call: Call, null_path: Path, null_weights: Path, few: Path, tmp_path: Path) -> Call:
    """Run the null engine over the few images; words given come on top."""

    def with_words(*words: object) -> Any:
        given: dict[str, Path | str] = {"--engine": "null", "--data": few, "--out": tmp_path / "out"}
        if "--model" not in words:
            given["--weights"] = null_weights
        return call("run", null_path, *words, *_not_yet(given, words))

    return with_words


@pytest.fixture
def run_tiny(call: Call, tiny_path: Path, tiny_weights: Path, few: Path, tmp_path: Path) -> Call:
    """Run the tiny network on a real engine over the few images; words given come on top."""

    def with_words(*words: object) -> Any:
        given: dict[str, Path | str] = {"--data": few, "--out": tmp_path / "out"}
        if "--model" not in words:
            given["--weights"] = tiny_weights
        return call("run", tiny_path, *words, *_not_yet(given, words))

    return with_words


def _not_yet(given: dict[str, Path | str], words: tuple[object, ...]) -> Iterator[object]:
    for flag, value in given.items():
        if flag not in words:
            yield from (flag, value)


def _refused(answer: Any, *words: str) -> None:
    answer.refused(*words)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch", "null"])
def test_the_main_job(
    run: Call, run_tiny: Call, tiny_weights: Path, null_weights: Path, tiny_data: Path, tmp_path: Path, engine: str
) -> None:
    out = tmp_path / "out"
    on_it, weights = (run, null_weights) if engine == "null" else (run_tiny, tiny_weights)
    answer = on_it("--weights", weights, "--data", tiny_data, "--engine", engine, "--json", "--batch", 7)
    assert answer.code == 0, answer
    result = json.loads((out / "result.json").read_text())
    assert answer.json == result
    assert result.keys() >= RESULT_KEYS
    assert (result["schema"], result["verdict"], result["n"], result["engine"]) == (
        "modelport.result/1",
        "pass",
        310,
        engine,
    )
    assert (result["precision"], result["batch"], result["skipped"]) == ("fp32", 7, 0)
    assert result["metrics"]["top1"]["value"] >= 40  # ten classes; the source is what it is, see below
    assert result["metrics"]["top1"]["value"] == result["reference"]["top1"]["value"]
    assert result["metrics"]["source_agreement"]["value"] == 100.0
    assert "source model alone" in result["rests_on"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    labels = dict(line.split() for line in (tiny_data / "val_label.txt").read_text().splitlines())
    assert {line["id"]: line["target"] for line in lines} == {
        Path(name).stem: int(label) for name, label in labels.items()
    }
    hits = [line["top5"][0][0] == line["target"] for line in lines]
    assert result["metrics"]["top1"]["value"] == pytest.approx(100 * np.mean(hits))
    assert all(line["source_top5"][0][0] == line["top5"][0][0] for line in lines)
    assert "tiny: pass" in (out / "report.md").read_text()
    known = {row["sha256"] for row in result["artifacts"]}
    assert all(made in known for row in result["artifacts"] for made in row["made_from"])


@pytest.mark.slow
def test_batch_size_and_engine_never_change_a_score(run_tiny: Call, tmp_path: Path) -> None:
    figures, prints = [], set()
    for index, words in enumerate((["--batch", 1], ["--batch", 5], ["--batch", 64, "--engine", "onnxruntime"])):
        result = run_tiny(*words, "--json", "--out", tmp_path / str(index)).json
        figures.append({name: score["value"] for name, score in result["metrics"].items()})
        prints.add(result["dataset"]["fingerprint"])
    assert figures[0] == figures[1] == figures[2] and len(prints) == 1


def test_few_samples_are_inconclusive_with_exit_code_3(run: Call) -> None:
    answer = run("--json")
    assert (answer.code, answer.json["verdict"]) == (3, "inconclusive")


@pytest.mark.slow
def test_other_weights_in_the_model_fail_on_accuracy_or_are_caught(
    run_tiny: Call, call: Call, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pth.tar"
    assert call("samples", "weights", tiny_path, "--data", tiny_data, "--out", other, "--seed", 5).code == 0
    assert call("export", tiny_path, "--weights", other, "--out", tmp_path / "other.onnx").code == 0
    _refused(run_tiny("--model", tmp_path / "other.onnx", "--weights", tiny_weights), "did not arrive", "other.onnx")
    assert (
        run_tiny("--model", tmp_path / "other.onnx", "--weights", other, "--json").json["metrics"]["source_agreement"][
            "value"
        ]
        == 100
    )


@pytest.mark.slow
def test_a_model_file_without_any_source_is_never_passed(
    run_tiny: Call, call: Call, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    call("export", tiny_path, "--weights", tiny_weights, "--out", tmp_path / "x.onnx", "--batch", 4, "--opset", 11)
    alone = ("--model", tmp_path / "x.onnx", "--source", "none")
    answer = run_tiny(*alone, "--batch", 4, "--data", tiny_data, "--json")
    assert (answer.code, answer.json["verdict"]) == (3, "incomplete")
    assert any("no source model" in note for note in answer.json["notes"])
    _refused(run_tiny("--model", tmp_path / "x.onnx", "--batch", 5, "--data", tiny_data, "--force"), "--batch 4")
    _refused(run_tiny("--model", tmp_path / "x.onnx", "--engine", "torch", "--force"), "--engine openvino")


@pytest.mark.slow
def test_check_export_compile_show(call: Call, tiny_path: Path, tiny_weights: Path, tmp_path: Path) -> None:
    checked = call("check", tiny_path, "--weights", tiny_weights, "--json")
    assert checked.code == 0 and checked.json["fits"]
    graph = tmp_path / "x.onnx"
    exported = call(
        "export", tiny_path, "--weights", tiny_weights, "--out", graph, "--json", "--json-out", tmp_path / "x.json"
    )
    assert exported.code == 0 and json.loads((tmp_path / "x.json").read_text()) == exported.json
    assert call("show", graph, "--json").json["inputs"] == ["actual_input_1: float32 (batch, 3, 32, 32)"]
    compiled = call(
        "compile", tiny_path, graph, "--engine", "openvino", "--out", tmp_path / "x.xml", "--batch", 2, "--json"
    )
    assert compiled.code == 0
    assert [row["kind"] for row in compiled.json["artifacts"]] == ["onnx", "openvino", "openvino-weights"]
    assert call("compile", tiny_path, graph, "--engine", "onnxruntime", "--out", tmp_path / "y.onnx").code == 0
    _refused(call("compile", tiny_path, graph, "--engine", "openvino", "--out", tmp_path / "y.onnx"), ".xml")
    _refused(call("compile", "moco-v2", graph, "--engine", "openvino", "--out", tmp_path / "z.xml"), "recipe wants")


def test_check_lists_what_does_not_fit(call: Call, tiny_weights: Path) -> None:
    answer = call("check", "moco-v2", "--weights", tiny_weights, "--json")
    assert answer.code == 2 and not answer.json["fits"]
    assert answer.json["missing"] and answer.json["misshapen"]


def test_list_show_doctor(call: Call) -> None:
    assert "moco-v2" in [row["name"] for row in call("list", "--json").json["recipes"]]
    assert call("--json", "show", "moco-v2").json["model"]["architecture"] == "resnet50"
    assert set(call("doctor", "--json").json["engines"]) == {"openvino", "onnxruntime", "torch", "ascend", "null"}
    for words in (("list",), ("show", "moco-v2"), ("doctor",)):
        assert call(*words).code == 0


def test_an_error_with_json_is_json_too(run: Call) -> None:
    answer = run("--engine", "openvin", "--json")
    assert answer.code == 2 and "did you mean 'openvino'" in answer.json["fix"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "onnxruntim"), "did you mean 'onnxruntime'"),
        (("--precision", "fp31"), "did you mean 'fp32'"),
        (("--engine", "onnxruntime", "--precision", "bf16"), "no bfloat16"),
        (("--batch", 0), "--batch 0"),
        (("--limit", -1), "--limit -1"),
        (("--on-bad-image", "skp"), "did you mean 'skip'"),
        (("--weights", "no/such.pth"), "no/such.pth"),
        (("--data", "no/such/folder"), "no/such/folder"),
        (("--model", "no/such.onnx"), "no/such.onnx"),
        (("--model", "model.tflite"), ".onnx"),
    ],
)
def test_wrong_usage_is_one_clear_message(run: Call, tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    _refused(run(*words), said)
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.slow
def test_bad_checkpoints_are_refused(run_tiny: Call, call: Call, tiny_weights: Path, tmp_path: Path) -> None:
    import torch

    whole = tiny_weights.read_bytes()
    contents = {"empty.pth": b"", "cut.pth": whole[: len(whole) // 2], "page.pth": b"<!DOCTYPE html><html></html>"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        _refused(run_tiny("--weights", tmp_path / name), name)
    _refused(run_tiny("--weights", "no/such.pth"), "no/such.pth")

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.system, (f"touch {tmp_path / 'pwned'}",)

    for new in (True, False):
        torch.save(
            {"state_dict": {"module.x": Hostile()}}, tmp_path / "hostile.pth", _use_new_zipfile_serialization=new
        )
        _refused(run_tiny("--weights", tmp_path / "hostile.pth"), "hostile.pth", "system")
    assert not (tmp_path / "pwned").exists()
    torch.save({"state_dict": {"module.encoder_q.conv1.weight": torch.zeros(1)}}, tmp_path / "pretrain.pth")
    _refused(run_tiny("--weights", tmp_path / "pretrain.pth"), "pre-training")
    _refused(
        call("run", "moco-v2", "--weights", tiny_weights, "--data", tmp_path / "few", "--out", tmp_path / "o"),
        "missing",
        "layer1.0.conv3.weight",
    )


def test_a_truncated_image_names_itself_and_can_be_skipped(run: Call, few: Path, tmp_path: Path) -> None:
    bad = sorted((few / "val").iterdir())[4]
    bad.write_bytes(bad.read_bytes()[:400])
    _refused(run(), bad.name, "--on-bad-image skip")
    assert not (tmp_path / "out" / "result.json").exists() and not (tmp_path / "out" / "predictions.jsonl").exists()
    result = run("--on-bad-image", "skip", "--json").json
    assert (result["n"], result["skipped"], result["metrics"]["top1"]["n"]) == (11, 1, 11)
    assert any(check["name"] == "skipped" and bad.stem in check["why"] for check in result["checks"])
    for image in (few / "val").iterdir():
        image.write_bytes(b"no image")
    _refused(run("--on-bad-image", "skip", "--force"), "no sample")


def test_bad_data_folders_are_refused(run: Call, few: Path, tmp_path: Path) -> None:
    (tmp_path / "void" / "val").mkdir(parents=True)
    (tmp_path / "void" / "val_label.txt").write_text("a.JPEG 1\n")
    _refused(run("--data", tmp_path / "void"), "void")
    labels = (few / "val_label.txt").read_text()
    (few / "val_label.txt").write_text(labels.replace(" ", " x ", 1))
    _refused(run(), "val_label.txt line 1")
    (few / "val_label.txt").write_text(labels + "ILSVRC2012_val_99999999.JPEG 1\n")
    _refused(run(), "ILSVRC2012_val_99999999")
    (few / "val_label.txt").write_text("\n".join(labels.splitlines()[1:]))
    _refused(run(), labels.split(".")[0])


def test_an_output_folder_with_a_result_or_not_writable_is_refused(run: Call, tmp_path: Path) -> None:
    assert run().code == 3
    before = (tmp_path / "out" / "result.json").read_text()
    _refused(run(), "--force")
    assert (tmp_path / "out" / "result.json").read_text() == before
    assert run("--force").code == 3
    (tmp_path / "file").write_text("")
    _refused(run("--out", tmp_path / "file"), "file")
    _refused(run("--out", tmp_path / "file" / "below"), "file")


@pytest.mark.slow
def test_the_source_is_not_run_again_for_a_second_engine(
    run_tiny: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_tiny("--out", tmp_path / "one").code == 3
    asked = []
    monkeypatch.setattr("modelport.evaluate.store.SourceAnswers.put", lambda self, rows: asked.extend(rows))
    assert run_tiny("--out", tmp_path / "two", "--engine", "onnxruntime").code == 3
    assert asked == []
    assert run_tiny("--out", tmp_path / "three", "--seed", 1).code == 3
    assert len(asked) == 12


def test_weights_are_fetched_where_none_are_given(
    call: Call, null_path: Path, null_weights: Path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelport.model.weights.fetch import cached_path
    from modelport.recipes.load import load_recipe

    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "by_hand.toml"
    text = null_path.read_text()
    recipe.write_text(
        "\n".join('page = "https://example.org/"' if line.startswith("url = ") else line for line in text.splitlines())
    )
    _refused(call("fetch", recipe), "https://example.org/", "model_lincls_best.pth.tar")
    shutil.copy(null_weights, cached_path(load_recipe(str(recipe))))
    answer = call("run", recipe, "--data", few, "--engine", "null", "--out", tmp_path / "out", "--json")
    assert answer.code == 3 and any("unverified" in note for note in answer.json["notes"])
    assert call("fetch", recipe, "--json").json["verified"].startswith("unverified")


@pytest.mark.slow
def test_the_demo_passes_and_a_second_one_uses_what_lies_there(
    call: Call, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelport.jobs.demo.RECIPES", (str(tiny_path),))
    first = call("demo", "--out", tmp_path / "demo", "--json")
    assert first.code == 0 and first.json["verdict"] == "pass"
    assert [run["engine"] for run in first.json["runs"]] == ["openvino", "onnxruntime", "torch"]
    assert all(
        run["n"] >= 300 and Path(report).is_file()
        for run, report in zip(first.json["runs"], first.json["reports"], strict=True)
    )
    page = Path(first.json["page"])
    assert page == tmp_path / "demo" / "report.html"
    assert all(engine in page.read_text() for engine in ("openvino", "onnxruntime", "torch"))
    stamp = (tmp_path / "demo" / "data" / "imagenet" / "val_label.txt").stat().st_mtime_ns
    again = call("demo", "--out", tmp_path / "demo")
    assert again.code == 0 and again.out.splitlines()[-1] == str(page)
    assert (tmp_path / "demo" / "data" / "imagenet" / "val_label.txt").stat().st_mtime_ns == stamp
