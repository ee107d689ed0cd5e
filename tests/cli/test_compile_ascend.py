"""``compile --engine ascend``: the guides' command lines, the files beside them, and what goes wrong."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from ascend_standins import Machine, ascend_fixture  # noqa: F401 - a fixture
from modelport.recipes.load import load_recipe

Call = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"
GUIDES = json.loads((GOLDEN / "atc_commands.json").read_text(encoding="utf-8"))
CATALOGUE = json.loads((GOLDEN / "catalogue.json").read_text(encoding="utf-8"))
# What names a file: the guide's own names of model and output, and modelport's of what it writes beside it.
FILES = {"insert_op_conf": "aipp.cfg", "keep_dtype": "execeptionlist.cfg", "op_precision_mode": "op_precision.ini"}
KINDS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
# Operators that a recipe's own [ascend] table speaks of, in the order in which they feed each other.
BODY = {
    "simclr": ["Add", "Relu", "GlobalAveragePool", "Relu"],
    "smlp-t": ["Erf"],
    "convnext-t": ["Erf", "Pow", "ReduceMean"],
}


def _graph(name: str, path: Path, opset: int = 11, batch: int | str = "batch") -> Path:
    """Write a graph with a recipe's tensors and operators; nobody runs it."""
    recipe = load_recipe(name)
    last, nodes = recipe.tensors.inputs[0].name, []
    for index, operator in enumerate(BODY.get(name, ["Relu"])):
        feeds = [last, last] if operator in ("Add", "Pow") else [last]
        last = f"t{index}"
        nodes.append(helper.make_node(operator, feeds, [last], f"{operator}_{index}"))
    for index, output in enumerate(recipe.tensors.outputs):
        nodes.append(helper.make_node("Cast", [last], [output.name], f"Out_{index}", to=KINDS[output.dtype]))
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, KINDS[t.dtype], [batch, *t.shape[1:]]) for t in tensors]
        for tensors in (recipe.tensors.inputs, recipe.tensors.outputs)
    )
    graph = helper.make_graph(nodes, name, inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7), path)
    return path


def _options(words: list[str]) -> dict[str, str]:
    assert words[0] == "atc"
    return dict(word.removeprefix("--").split("=", 1) for word in words[1:])


def _published(name: str) -> dict[str, str]:
    """The options of a guide's command, its shell read as a shell reads it."""
    guide = GUIDES[name]
    text = re.sub(r"-- \n", "--", guide["text"]).rstrip("\\\n").replace("\\\n", " ")
    for variable, value in guide["variables"].items():
        text = text.replace(f"${{{variable}}}", value)
    options = _options(shlex.split(text))
    # Three slips and names that are each graph's own.
    options["soc_version"] = "Ascend" + options["soc_version"].removeprefix("Ascend")
    options["model"] = options["model"].removeprefix("./")
    if "out_nodes" in options:
        options["out_nodes"] = "Out_0:0;Out_1:0"
    return options


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["310P3", "Ascend310P3"])
@pytest.mark.parametrize("name", [name for name in GUIDES if name != "about"])
def test_the_guides_command_comes_out(
    name: str, chip: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    want = _published(name)
    _graph(name, tmp_path / want["model"])
    words = ["compile", name, want["model"], "--engine", "ascend", "--out", want["output"], "--soc", chip, "--dry-run"]
    answer = call(*words)
    assert answer.code == 0, answer
    line = shlex.split(answer.out)
    assert _options(line) == want
    told = call(*words, "--json").json
    assert (told["schema"], told["command"], shlex.split(told["line"])) == ("modelport.compile/1", line, line)
    assert [file.name for file in tmp_path.iterdir()] == [want["model"]], "a dry run writes nothing"
    assert _options(call(*words[:-1], "--dry-run", "--out", f"{want['output']}.om", "--json").json["command"]) == want


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "about"])
def test_the_options_of_a_guide_of_the_catalogue_come_out(name: str, call: Call, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    words = ["--engine", "ascend", "--out", tmp_path / "net", "--soc", "310P3", "--dry-run", "--json"]
    told = call("compile", name, _graph(name, tmp_path / "net.onnx"), *words).json
    got, batch = _options(told["command"]), str(told["batch"])
    (height, width), printed = recipe.tensors.sample.shape[2:], CATALOGUE[name]["atc"]
    want = {option: value for option, value in printed.items() if option not in ("model", "output")}
    want["input_shape"] = want.get("input_shape", f"{recipe.tensors.sample.name}:{batch},3,{height},{width}")
    want["input_shape"] = re.sub(r"\$\{(bs|batch_size|batchsize)\}|\{batch size\}", batch, want["input_shape"])
    want["input_shape"] = want["input_shape"].replace("${img_size}", str(height))
    # Three guides leave the layout to ATC, whose default it is.
    want |= {"input_format": "NCHW", "soc_version": "Ascend310P3"}
    want |= {option: str(tmp_path / file) for option, file in FILES.items() if option in want}
    assert {key: value for key, value in got.items() if key not in ("model", "output")} == want
    if "insert_op_conf" in want:
        (text,) = (row["text"] for row in told["files"] if row["option"] == "insert_op_conf")
        for kind, constants in CATALOGUE[name]["aipp"].items():
            held = re.findall(rf"{kind}_chn_\d: (\S+)", text)
            assert list(map(float, held)) == pytest.approx(constants, rel=1e-6)


def test_what_the_named_files_hold(call: Call, tmp_path: Path) -> None:
    base = ["--engine", "ascend", "--out", tmp_path / "x", "--soc", "310P3", "--dry-run", "--json"]
    told = call("compile", "simclr", _graph("simclr", tmp_path / "s.onnx"), *base).json
    texts = {row["option"]: row["text"] for row in told["files"]}
    assert texts["keep_dtype"].splitlines() == ["Add_0", "Relu_1", "GlobalAveragePool_2"]
    assert "var_reci_chn_2: 0.003921569" in texts["insert_op_conf"] and told["input_type"] == "uint8"
    assert any("uint8 NHWC" in note for note in told["notes"])
    plain = call("compile", "simclr", tmp_path / "s.onnx", *base, "--input-type", "float32").json
    assert "insert_op_conf" not in _options(plain["command"])
    told = call("compile", "smlp-t", _graph("smlp-t", tmp_path / "m.onnx"), *base).json
    assert told["files"][0]["text"].split() == ["[ByOpType]", "Gelu=high_performance"]
    told = call("compile", "moco-v2", _graph("moco-v2", tmp_path / "c.onnx"), *base, "--input-type", "uint8").json
    for line in ("min_chn_0: 123.675", "min_chn_1: 116.28", "min_chn_2: 103.53", "var_reci_chn_0: 0.01712475",
                 "var_reci_chn_1: 0.017507", "var_reci_chn_2: 0.01742919", "src_image_size_w: 224"):  # fmt: skip
        assert line in told["files"][0]["text"]


def test_precision_is_one_documented_mode(call: Call, tmp_path: Path) -> None:
    graph = _graph("moco-v2", tmp_path / "m.onnx")
    base = ["compile", "moco-v2", graph, "--engine", "ascend", "--out", tmp_path / "x", "--soc", "310P3", "--dry-run"]
    modes = {"fp32": "force_fp32", "fp16": "force_fp16", "must_keep_origin_dtype": "must_keep_origin_dtype"}
    for word, mode in modes.items():
        assert _options(call(*base, "--json", "--precision", word).json["command"])["precision_mode"] == mode
    told = call(*base, "--json", "--precision", "mixed_float16").json
    options = _options(told["command"])
    assert options["precision_mode_v2"] == "mixed_float16" and "precision_mode" not in options
    told = call(*base, "--json").json
    assert told["precision"] == "fp16" and any("float16" in note for note in told["notes"])
    assert not {"precision_mode", "precision_mode_v2"} & set(_options(told["command"]))
    call(*base, "--precision", "int8").refused("quantised")
    call(*base, "--precision", "force_fp23").refused("did you mean 'force_fp32'")


def test_a_plan_becomes_atcs_files(call: Call, tmp_path: Path) -> None:
    graph = _graph("smlp-t", tmp_path / "m.onnx")
    plan = tmp_path / "plan.json"
    base = ["compile", "smlp-t", graph, "--engine", "ascend", "--soc", "310P3", "--dry-run", "--json", "--plan", plan]
    base += ["--out", tmp_path / "x"]
    types = {"Gelu": "high_precision", "Cast": "fp32"}
    plan.write_text(json.dumps({"schema": "modelport.plan/1", "nodes": {"Erf_0": "fp32"}, "types": types}))
    texts = {row["option"]: row["text"] for row in call(*base).json["files"]}
    assert texts == {"keep_dtype": "Erf_0\nOut_0\n", "op_precision_mode": "[ByOpType]\nGelu=high_precision\n"}
    told = call(*base, "--precision", "allow_mix_precision").json
    texts = {row["option"]: row["text"] for row in told["files"]}
    assert texts["keep_dtype"] == "Erf_0\n"
    assert json.loads(texts["modify_mixlist"])["black-list"]["to-add"] == ["Cast"]
    told = call(*base, "--precision", "origin").json
    assert "keep_dtype" not in _options(told["command"]) and any("keep_dtype" in note for note in told["notes"])
    plan.write_text('{"schema": "modelport.plan/1", "nodes": {"Erf_00": "fp32"}}')
    call(*base).refused("did you mean 'Erf_0'")


def test_options_that_exclude_each_other_are_refused(call: Call, tmp_path: Path) -> None:
    from importlib.resources import files

    text = files("modelport.recipes").joinpath("smlp-t.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(text.replace("options = {}", 'options = { op_select_implmode = "high_precision" }'))
    base = [_graph("smlp-t", tmp_path / "m.onnx"), "--engine", "ascend", "--out", "x", "--soc", "310P3", "--dry-run"]
    call("compile", own, *base).refused("op_select_implmode", "exclude")
    own.write_text(text.replace("options = {}", 'options = { op_select_implmod = "high_precision" }'))
    call("compile", own, *base).refused("did you mean 'op_select_implmode'")


def test_the_chip_is_named_or_found_and_never_guessed(call: Call, tmp_path: Path, ascend: Machine) -> None:
    base = ["compile", "moco-v2", _graph("moco-v2", tmp_path / "m.onnx"), "--engine", "ascend", "--out", tmp_path / "x"]
    base += ["--dry-run"]
    assert "--soc_version=Ascend310P3" in call(*base).out
    call(*base, "--device", 2).refused("no device 2", "0 (310P3)")
    call(*base, "--soc", "best").refused("no chip's name")
    ascend.patch.setenv("STANDIN_NPU_SMI", "broken")
    call(*base).refused("-8005", "--soc")
    ascend.without("npu-smi")
    call(*base).refused("no npu-smi", "--soc")


def test_the_batch_follows_graph_flag_and_recipe(call: Call, tmp_path: Path) -> None:
    base = ["--engine", "ascend", "--out", tmp_path / "x", "--soc", "310P3", "--dry-run", "--json"]
    free, fixed = _graph("inception-v4", tmp_path / "f.onnx", 20), _graph("inception-v4", tmp_path / "b.onnx", batch=2)
    told = call("compile", "inception-v4", free, *base, "--batch", 3).json
    assert _options(told["command"])["input_shape"] == "image:3,3,299,299"
    assert any("opset 20" in note and "--opset 11" in note for note in told["notes"])
    told = call("compile", "inception-v4", fixed, *base).json
    assert told["batch"] == 2 and any("fixed" in note for note in told["notes"])
    call("compile", "inception-v4", fixed, *base, "--batch", 4).refused("fixed to batch 2")


def test_other_engines_say_that_they_have_no_vendor_command(call: Call, tmp_path: Path) -> None:
    graph = _graph("moco-v2", tmp_path / "m.onnx")
    base = ["compile", "moco-v2", graph, "--out", tmp_path / "x.onnx", "--engine", "onnxruntime"]
    told = call(*base, "--dry-run", "--json").json
    assert told["command"] == [] and "no vendor command" in told["notes"][0] and not (tmp_path / "x.onnx").exists()
    call(*base, "--soc", "310P3").refused("--soc", "--engine ascend")
    call(*base[:-1], "ascend", "--soc", "310P3").refused(".onnx", ".om")


def test_a_compiled_model_and_its_record(call: Call, tmp_path: Path, ascend: Machine) -> None:
    graph = _graph("moco-v2", tmp_path / "m.onnx")
    base = ["compile", "moco-v2", graph, "--engine", "ascend", "--soc", "310B1", "--out", tmp_path / "out" / "m.om"]
    base += ["--input-type", "uint8"]
    ascend.patch.setenv("STANDIN_ATC_SUFFIX", "_linux_x86_64")
    ascend.patch.chdir(tmp_path)
    told = call(*base, "--json")
    assert told.code == 0, told
    made = tmp_path / "out" / "m.om"
    assert not (tmp_path / "fusion_result.json").exists(), "what ATC leaves in its folder is not the user's"
    assert sorted(path.name for path in made.parent.iterdir()) == ["aipp.cfg", "m.om", "m.om.atc.log", "m.om.json"]
    record = json.loads((tmp_path / "out" / "m.om.json").read_text())
    assert told.json["artifacts"][-1]["sha256"] == record["sha256"]
    assert (record["precision"], record["input_type"], record["soc_version"]) == ("fp16", "uint8", "Ascend310B1")
    assert told.json["artifacts"][0]["sha256"] in record["made_from"]
    assert any("not opened" in note for note in told.json["notes"])
    # Another model's file of that name stays; this one's goes beside it.
    (tmp_path / "out" / "aipp.cfg").write_text("another's")
    assert f"insert_op_conf={tmp_path / 'out' / 'm.aipp.cfg'}" in call(*base).out
    assert (tmp_path / "out" / "aipp.cfg").read_text() == "another's"


def test_what_atc_refuses_is_shown_and_leaves_no_model(call: Call, tmp_path: Path, ascend: Machine) -> None:
    graph = _graph("moco-v2", tmp_path / "m.onnx")
    base = ["compile", "moco-v2", graph, "--engine", "ascend", "--out", tmp_path / "m"]
    call(*base, "--soc", "910X").refused("E10001", "--soc_version=Ascend910X", "m.om.atc.log", "left with 1")
    assert "E10001" in (tmp_path / "m.om.atc.log").read_text()
    for mode, word in (("silent", "wrote no model"), ("full", "no space left")):
        ascend.patch.setenv("STANDIN_ATC", mode)
        call(*base, "--soc", "310P3").refused(word)
    assert not list(tmp_path.glob("*.om")) and not list(tmp_path.glob(".m.om*"))
    ascend.without("atc")
    call(*base, "--soc", "310P3").refused("no atc", "set_env.sh")
