"""The engine for Ascend devices, on stand-ins: the contract of engines, clocks, names, and what the library refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ascend_standins import TABLE, Machine, Memory, Session, ascend_fixture  # noqa: F401 - a fixture
from conftest import Call, Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, SignatureError
from modelport.core.progress import Silent
from modelport.core.values import Array
from modelport.engines.ascend.atc import AscendBuild
from modelport.engines.ascend.engine import AscendEngine
from modelport.engines.ascend.npu_smi import chips_in
from modelport.engines.base import Build, DeviceTimes, Launch, TimedRunner
from modelport.engines.registry import choose_engine, defaults, get_engine, model_artifact, opened
from modelport.jobs.compile import CompileRequest, compile_checked
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.schema import Recipe

NAME = "actual_input_1"
OLDER_NAMES = [
    (Session, "free_resource", "finalize"),
    (Session, "summary", "sumary"),
    (Memory, "get_h2d_time_list", "get_H2D_time_list"),
    (Memory, "get_d2h_time_list", "get_D2H_time_list"),
]


@pytest.fixture(scope="module")
def graph(exported_tiny: Exported) -> Artifact:
    return exported_tiny(11)[0]


@pytest.fixture
def compiled(graph: Artifact, tiny: Recipe, ascend: Machine, tmp_path: Path) -> Callable[..., Artifact]:
    def make(batch: int = 2, **more: Any) -> Artifact:
        options = Build(tiny, None, batch, own=AscendBuild("310P3", **more))
        return AscendEngine().compile(graph, options, tmp_path / f"tiny-{batch}.om")

    return make


def _images(count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, 3, 32, 32), dtype=np.float32)


def _by_onnxruntime(graph: Artifact, recipe: Recipe, images: Array) -> Array:
    with opened(get_engine("onnxruntime"), graph, Build(recipe, batch=len(images))) as runner:
        return runner.run({NAME: images})["output1"]


def test_it_runs_what_atc_wrote_and_keeps_the_contract(
    compiled: Callable[..., Artifact], graph: Artifact, tiny: Recipe, tmp_path: Path
) -> None:
    artifact = compiled()
    assert graph.sha256 in artifact.made_from
    assert artifact.sha256 == model_artifact(artifact.path).sha256
    with opened(AscendEngine(), artifact, Build(tiny, "fp16", 2), Launch()) as runner:
        assert runner.signature == tiny.signature.with_batch(2)
        images = _images(2)
        first = runner.run({NAME: images})["output1"]
        np.testing.assert_allclose(first, _by_onnxruntime(graph, tiny, images), rtol=0, atol=1e-5)
        kept = first.copy()
        runner.run({NAME: -images})
        np.testing.assert_array_equal(first, kept)
        first += 1  # the caller's own
        for wrong in ({"input": images}, {NAME: images[:1]}, {NAME: images.astype(np.float64)}):
            with pytest.raises(SignatureError):
                runner.run(wrong)
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda scale: runner.run({NAME: images * scale})["output1"], range(1, 9)))
        for scale, answer in enumerate(together, start=1):
            want = runner.run({NAME: images * scale})["output1"]
            np.testing.assert_array_equal(answer, want)
    assert Session.freed == 1


def test_the_three_clocks_are_those_of_the_run(compiled: Callable[..., Artifact], tiny: Recipe) -> None:
    with AscendEngine().open(compiled(), Build(tiny, "fp16", 2), Launch()) as runner:
        assert isinstance(runner, TimedRunner)
        runner.run({NAME: _images(2)})
        for _ in range(2):
            outputs, times = runner.run_timed({NAME: _images(2)})
            assert times == DeviceTimes(0.5, 2.0, 0.25) and set(outputs) == {"output1"}


def test_wheels_with_the_older_names_are_served(
    compiled: Callable[..., Artifact], tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, new, old in OLDER_NAMES:
        monkeypatch.setattr(owner, old, vars(owner)[new], raising=False)
        monkeypatch.delattr(owner, new)
    with opened(AscendEngine(), compiled(), Build(tiny, None, 2)) as runner:
        assert isinstance(runner, TimedRunner)
        assert runner.run_timed({NAME: _images(2)})[1] == DeviceTimes(0.5, 2.0, 0.25)
    assert Session.freed == 1


@pytest.mark.parametrize("index", range(1, 4))
@pytest.mark.usefixtures("ascend")
def test_wheels_with_neither_name_are_refused_with_what_is_needed(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, new, _ = OLDER_NAMES[index]
    monkeypatch.delattr(owner, new)
    here = AscendEngine().available()
    assert not here.usable and new in here.reason and "February 2024" in here.reason


def test_the_precision_is_the_one_it_was_compiled_for(
    compiled: Callable[..., Artifact], tiny: Recipe, tmp_path: Path
) -> None:
    artifact = compiled()
    with (
        pytest.raises(EngineError, match=r"runs .* in fp16, fp32 was asked for"),
        opened(AscendEngine(), artifact, Build(tiny, "fp32", 2)),
    ):
        pass
    # Without the record nobody knows, and that is said; a record of another file is none.
    record = artifact.path.with_name(artifact.path.name + ".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": "0" * 64}))
    with AscendEngine().open(artifact, Build(tiny, "fp32", 2), Launch()) as runner:
        assert runner.precision == "fp32" and any("unproved" in note for note in runner.notes)


@pytest.mark.parametrize(
    ("naming", "note"),
    [("{name}", ""), ("{node}:0:{name}", ""), ("{node}:0", "by their order"), ("", "by their order")],
)
def test_outputs_get_the_recipes_names(
    naming: str, note: str, compiled: Callable[..., Artifact], tiny: Recipe, ascend: Machine
) -> None:
    ascend.patch.setattr(Session, "naming", naming)
    with opened(AscendEngine(), compiled(), Build(tiny, "fp16", 2), Launch()) as runner:
        assert runner.signature == tiny.signature.with_batch(2)
        notes = getattr(runner, "notes", ())
        assert any(note in one for one in notes) if note else not notes


def test_outputs_of_another_shape_keep_their_names_and_are_refused(
    compiled: Callable[..., Artifact], tiny: Recipe, ascend: Machine
) -> None:
    ascend.patch.setattr(Session, "naming", "{node}:0")
    outputs = [replace_shape(tiny, [("batch"), 11])]
    other = tiny.model_copy(update={"tensors": tiny.tensors.model_copy(update={"outputs": outputs})})
    with pytest.raises(EngineError, match="Node_0:0"), opened(AscendEngine(), compiled(), Build(other, "fp16", 2)):
        pass
    with AscendEngine().open(compiled(), Build(), Launch()) as runner:
        assert [spec.name for spec in runner.signature.outputs] == ["Node_0:0"]


def replace_shape(recipe: Recipe, shape: list[int | str]) -> Any:
    return recipe.tensors.outputs[0].model_copy(update={"shape": shape})


def test_what_the_device_refuses_is_one_clear_error(
    compiled: Callable[..., Artifact], tiny: Recipe, ascend: Machine, tmp_path: Path
) -> None:
    artifact, options = compiled(), Build(tiny, "fp16", 2)
    with AscendEngine().open(artifact, options, Launch()) as runner:
        ascend.patch.setattr(Session, "infer", lambda self, feeds, mode: 1 / 0)
        with pytest.raises(EngineError, match="the device failed: division by zero"):
            runner.run({NAME: _images(2)})
    with pytest.raises(EngineError, match="107001"), AscendEngine().open(artifact, options, Launch(device=7)):
        pass
    ascend.patch.setenv("STANDIN_DEVICE", "busy")
    with pytest.raises(EngineError, match=r"busy[^$]*npu-smi info"), AscendEngine().open(artifact, options, Launch()):
        pass
    ascend.patch.delenv("STANDIN_DEVICE")
    (tmp_path / "x.om").write_bytes(b"no model")
    with (
        pytest.raises(EngineError, match=r"x\.om"),
        AscendEngine().open(model_artifact(tmp_path / "x.om"), options, Launch()),
    ):
        pass


def test_a_machine_without_the_library_says_so_and_never_chooses_it(
    monkeypatch: pytest.MonkeyPatch, tiny: Recipe, tmp_path: Path
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] == "ais_bench":
                raise OSError("libascendcl.so: cannot open shared object file")

    monkeypatch.setattr("sys.meta_path", [Broken(), *__import__("sys").meta_path])
    here = AscendEngine().available()
    assert not here.usable and "libascendcl.so" in here.reason and "set_env.sh" in here.install
    assert defaults()[-1].name == "ascend" and choose_engine(None, "fp32").name != "ascend"
    (tmp_path / "x.om").write_bytes(b"model")
    with (
        pytest.raises(EngineError, match="libascendcl"),
        opened(AscendEngine(), model_artifact(tmp_path / "x.om"), Build(tiny, "fp16", 1)),
    ):
        pass


@pytest.mark.slow
def test_what_was_compiled_is_opened_where_its_chip_is_at_hand(
    graph: Artifact, tiny: Recipe, tiny_path: Path, ascend: Machine, tmp_path: Path
) -> None:
    request = CompileRequest(str(tiny_path), graph.path, "ascend", tmp_path / "t.om", input_type="uint8", batch=2)
    told = compile_checked(request, Silent())
    assert Session.freed == 1 and not any("not opened" in note for note in told["notes"])
    with opened(AscendEngine(), model_artifact(tmp_path / "t.om"), Build(recipe_of_pixels(tiny), "fp16", 2)) as runner:
        runner.run({NAME: np.zeros((2, 32, 32, 3), np.uint8)})
    ascend.patch.setenv("STANDIN_DEVICE", "busy")
    with pytest.raises(EngineError, match="busy"):
        compile_checked(request, Silent())
    told = compile_checked(replace(request, soc="310B4"), Silent())
    assert any("not opened here" in note for note in told["notes"])


def test_the_chips_of_a_table() -> None:
    assert chips_in(TABLE) == {0: "310P3", 1: "310P3"}
    newer = TABLE.replace("310P3", "910B1").replace("| 0       0         |", "| 0                 |")
    assert chips_in(newer.replace("| 0       1         |", "| 0                 |")) == {0: "910B1", 1: "910B1"}
    assert chips_in(TABLE.replace("310P3", "310  ")) == {0: "310", 1: "310"}
    assert chips_in("dcmi module initialize failed. ret is -8005") == {}


@pytest.mark.slow
def test_run_scores_an_om_file_with_the_devices_clocks(
    compiled: Callable[..., Artifact], tiny_path: Path, tiny_data: Path, tiny_weights: Path, call: Call, tmp_path: Path
) -> None:
    line = ["run", tiny_path, "--data", tiny_data, "--limit", 7, "--batch", 2, "--json", "--force"]
    made = compiled()
    result = call(
        *line, "--model", made.path, "--weights", tiny_weights, "--engine", "ascend", "--out", tmp_path / "npu"
    ).json
    other = call(*line, "--weights", tiny_weights, "--engine", "onnxruntime", "--out", tmp_path / "cpu").json
    assert result["engine"] == "ascend" and result["precision"] == "fp16"
    assert result["metrics"] == other["metrics"]
    clocks = result["latency_ms"]
    assert (clocks["h2d"]["mean"], clocks["device"]["mean"], clocks["d2h"]["mean"]) == (0.5, 2.0, 0.25)
    assert result["throughput"]["device"]["value"] == pytest.approx(7 / (4 * 0.002))
    assert other["throughput"]["device"] is None and set(other["latency_ms"]) == {"host"}
    call(*line, "--model", made.path, "--engine", "ascend", "--device", 5, "--out", tmp_path / "x").refused("device 5")


def test_an_om_file_that_takes_pixels_gets_them(
    compiled: Callable[..., Artifact], tiny_path: Path, tiny_data: Path, call: Call, tmp_path: Path
) -> None:
    line = ["run", tiny_path, "--data", tiny_data, "--limit", 4, "--batch", 2, "--json", "--engine", "ascend"]
    made = compiled(input_type="uint8")
    result = call(*line, "--model", made.path, "--input-type", "uint8", "--out", tmp_path / "npu").json
    assert result["n"] == 4 and result["input_type"] == "uint8"
    call(*line, "--model", made.path, "--out", tmp_path / "x").refused("uint8")
