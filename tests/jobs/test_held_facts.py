"""What files say of themselves is held where they are read, and a folder where it is written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelport.ais_bench.__main__ import main as ais_bench
from modelport.core.errors import DataError, GraphError
from modelport.core.output_folder import held_folder, held_results
from modelport.core.progress import Silent
from modelport.data.files.tensor_form import TensorForm, form_beside, hold_form
from modelport.data.files.tensor_index import hold_index, hold_sizes, read_index
from modelport.engines.ascend.aipp import aipp_of, text_of
from modelport.model.graph.export import check_graph
from modelport.model.source import load_source, open_source
from modelport.model.weights import file as weights_code
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages import source as model_road
from modelport.stages.source import weights_file

pytest_plugins = "step_data"
Call = Callable[..., Any]
PLANES = TensorForm(Path("index.json"), "float32", "NCHW", (3, 32, 32))
PIXELS = TensorForm(Path("index.json"), "uint8", "NHWC", (32, 32, 3))


@pytest.fixture
def tensors(call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        out = tmp_path / kind / "t"
        words = ("--data", tiny_data, "--out", out, "--limit", 4, "--input-type", kind)
        assert call("preprocess", tiny_path, *words).code == 0
        return out

    return write


def _graph(path: Path, dtype: int, shape: list[int | str]) -> Path:
    """Write a graph that gives its input back."""
    infos = [onnx.helper.make_tensor_value_info(name, dtype, shape) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", infos[:1], infos[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_tensors_are_those_of_the_recipe_as_it_is_today(
    tensors: Callable[[str], Path], tiny: Recipe, tiny_path: Path, tmp_path: Path
) -> None:
    folder = tensors("float32")
    hold_index(read_index(folder), tiny)
    text = tiny_path.read_text()
    other = tmp_path / "other.toml"
    other.write_text(text.replace("size = 40", "size = 36"))
    with pytest.raises(DataError, match="was another when the tensors were written") as caught:
        hold_index(read_index(folder), load_recipe(str(other)))
    assert str(folder) in caught.value.found and caught.value.fix
    index = folder / "index.json"
    written = json.loads(index.read_text())
    for change, words in (
        ({"variant": "x"}, "variant 'x'"),
        ({"layout": "NHWC"}, "has no tensors of"),
        ({"shape": [32, 32, 3]}, "has no tensors of"),
        ({"recipe_sha256": "0" * 64}, "sha256 000000000000"),
    ):
        index.write_text(json.dumps(written | change))
        with pytest.raises(DataError, match=words):
            hold_index(read_index(folder), tiny)


def test_evaluate_refuses_tensors_of_another_recipe(
    call: Call, tensors: Callable[[str], Path], tiny_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    folder = tensors("float32")
    other = tmp_path / "other.toml"
    other.write_text(tiny_path.read_text().replace("size = 40", "size = 36"))
    answer = call("evaluate", other, "--results", folder, "--data", tiny_data, "--tensors", folder)
    answer.refused("was another when the tensors were written", "fix:")


@pytest.mark.parametrize("more", [-4, 4, 12_288], ids=["cut off", "longer", "a row more"])
def test_evaluate_refuses_tensors_of_another_size(
    call: Call, tensors: Callable[[str], Path], tiny_path: Path, tiny_data: Path, more: int
) -> None:
    folder = tensors("float32")
    file = min(folder.glob("*.bin"))
    content = file.read_bytes()
    file.write_bytes((content + bytes(max(0, more)))[: len(content) + more])
    answer = call("evaluate", tiny_path, "--results", folder, "--data", tiny_data, "--tensors", folder)
    answer.refused(str(file), f"has {len(content) + more} bytes", "write the tensors again")
    # What is gone is not needed: the results are.
    file.unlink()
    hold_sizes(read_index(folder))


def test_what_was_said_of_weights_is_said_anew_by_other_code(
    tiny: Recipe, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))

    def notes(*said: str) -> list[str]:
        source = open_source(tiny, tiny_weights)
        monkeypatch.setattr(type(source), "notes", property(lambda _: said))
        return model_road._notes_of(source)

    assert notes("first") == ["first"]
    assert notes("never asked") == ["first"]
    code = tmp_path / "model"
    shutil.copytree(Path(weights_code.__file__).parents[1], code)
    with (code / "weights" / "checkpoint.py").open("a") as changed:
        changed.write("# other code\n")
    monkeypatch.setattr(weights_code, "__file__", str(code / "weights" / "file.py"))
    assert notes("second") == ["second"]


def test_planes_and_pixels_are_told_apart_by_ais_bench(
    tensors: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    pixels, planes = tensors("uint8"), tensors("float32")
    right = _graph(tmp_path / "right.onnx", uint8, ["n", 32, 32, 3])
    assert ais_bench(["--model", str(right), "--input", str(pixels), "--batchsize", "1"]) == 0
    capsys.readouterr()
    wrong = (
        (pixels, _graph(tmp_path / "a.onnx", uint8, ["n", 3, 32, 32])),
        (planes, _graph(tmp_path / "b.onnx", float32, ["n", 32, 32, 3])),
        (planes, right),
        (pixels, _graph(tmp_path / "c.onnx", float32, ["n", 3, 32, 32])),
    )
    for folder, model in wrong:
        code = ais_bench(["--model", str(model), "--input", str(folder), "--batchsize", "1"])
        printed = capsys.readouterr()
        assert code == 2 and str(folder / "index.json") in printed.err and "preprocess" in printed.err


def test_planes_are_not_given_to_aipp(
    call: Call, tensors: Callable[[str], Path], tiny: Recipe, tiny_path: Path, tmp_path: Path
) -> None:
    config = tmp_path / "aipp.cfg"
    config.write_text(text_of(aipp_of(tiny)))
    pixels, planes = tensors("uint8"), tensors("float32")
    names = [sorted(folder.glob("*.bin"))[0] for folder in (pixels, planes)]
    words = ("--out", tmp_path / "o", "--recipe", tiny_path)
    assert call("aipp", "apply", config, names[0], *words).code == 0
    call("aipp", "apply", config, names[1], *words).refused("float32 NCHW", "uint8")
    index = pixels / "index.json"
    index.write_text(index.read_text().replace('"NHWC"', '"NCHW"'))
    call("aipp", "apply", config, names[0], *words).refused("planes", "uint8")


def test_only_a_difference_that_matters_is_refused() -> None:
    hold_form(PLANES, "float32", ("?", 32, 32), "it")
    hold_form(PLANES, "float32", (3072,), "it")  # the same values in one row
    hold_form(TensorForm(Path("i"), "int8", "NCHW", (3, 32, 32)), "uint8", (32, 32, 3), "it")  # the guide's own cast
    for form, dtype, shape in ((PIXELS, "uint8", (3, 32, 32)), (PLANES, "uint8", (3, 32, 32))):
        with pytest.raises(DataError):
            hold_form(form, dtype, shape, "it")


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "another"}', '{"schema": "modelport.tensors/1"}'])
def test_another_programs_index_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    assert form_beside(tmp_path / "a.bin") is None and form_beside(tmp_path / "none" / "a.bin") is None


def test_a_recipes_digest_of_its_weights_is_told_and_never_an_error(tiny: Recipe, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()

    def notes(stated: str | None) -> list[str]:
        recipe = tiny.model_copy(update={"weights": tiny.published_weights.model_copy(update={"sha256": stated})})
        return weights_file(recipe, mine, Silent())[1]

    assert notes(None) == []
    assert notes(digest) == ["weights mine.pth: the sha256 is the recipe's"]
    (said,) = notes("0" * 64)
    assert "mine.pth" in said and digest in said and "0" * 64 in said


@pytest.mark.slow
def test_weights_beside_the_graph_are_held_against_the_checkpoint(
    tiny_path: Path, tiny_weights: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "m.onnx.data"
    onnx.save_model(onnx.load(tiny_onnx), tmp_path / "m.onnx", save_as_external_data=True, location=beside.name)
    source = load_source(load_recipe(str(tiny_path)), tiny_weights)
    assert {check.verdict for check in check_graph(source, tmp_path / "m.onnx", None, None)} == {"pass"}
    content = bytearray(beside.read_bytes())
    content[len(content) // 2 + 2] ^= 0x10
    beside.write_bytes(content)
    with pytest.raises(GraphError, match="did not arrive") as caught:
        check_graph(source, tmp_path / "m.onnx", None, None)
    assert "other weights, same network" not in caught.value.found
    for part in source.module.parameters():
        part.data += 0.1 * part.std() * part.new_tensor(np.random.default_rng(0).normal(size=part.shape))
    with pytest.raises(GraphError, match=r"other weights, same network: .* another epoch"):
        check_graph(source, tmp_path / "m.onnx", None, None)


def test_every_command_that_writes_a_result_holds_its_folder(
    call: Call, tiny_path: Path, tiny_data: Path, tiny_weights: Path, tensors: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, out = tensors("float32"), tmp_path / "out"
    np.save(tmp_path / "x.npy", np.zeros(1))
    with held_folder(out, "result.json", False):
        common = ("--data", tiny_data, "--limit", 4, "--force", "--out", out)
        for words in (
            ("run", tiny_path, "--weights", tiny_weights, *common),
            ("preprocess", tiny_path, *common),
            ("evaluate", tiny_path, "--results", folder, *common),
        ):
            call(*words).refused("another run is writing into it", "--out")
    assert sorted(path.name for path in out.iterdir()) == []


def test_a_result_holds_its_companions(
    call: Call, tiny_path: Path, tiny_data: Path, tensors: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tensors("float32")
    index = json.loads((folder / "index.json").read_text())
    assert index["companions"] == {"labels.json": hashlib.sha256((folder / "labels.json").read_bytes()).hexdigest()}


def test_a_results_folder_of_ais_bench_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensors: Callable[[str], Path]
) -> None:
    model = _graph(tmp_path / "m.onnx", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])
    words = ["--model", str(model), "--input", str(tensors("float32")), "--batchsize", "1"]
    words += ["--output", str(tmp_path / "o"), "--output_dirname", "d"]
    (tmp_path / "o" / "d").mkdir(parents=True)
    with held_results(tmp_path / "o" / "d", tmp_path / "o" / "d_summary.json"):
        assert ais_bench(words) == 2
    assert "another run is writing" in capsys.readouterr().err
    assert ais_bench(words) == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["d", "d_summary.json"]
