"""Programs of torch.export: what is read, and what is refused before PyTorch reads it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modelport.core.errors import CheckpointError
from modelport.model.program import load_program, program_facts

Edit = Callable[[dict[str, Any]], None]


class Net(torch.nn.Module):
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 10)
        self.register_buffer("scale", torch.full((4, 1, 1), 2.0), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.fc((torch.relu(self.bn(self.conv(image))) * self.scale).mean((2, 3)))
        return answer


FREE = ({0: torch.export.Dim.DYNAMIC},)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with a free batch, written by torch itself; not to be changed."""
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Net().eval(), (torch.ones(2, 3, 8, 8),), dynamic_shapes=FREE), path)
    return path


def edited(
    saved: Path, out: Path, changes: dict[str, Callable[[bytes], bytes]], added: dict[str, bytes] | None = None
) -> Path:
    """Write the archive with entries changed, by the end of their names, and others added to its folder."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            change = next((change for ending, change in changes.items() if name.endswith(ending)), bytes)
            target.writestr(name, change(source.read(name)))
        root = source.namelist()[0].partition("/")[0]
        for name, content in (added or {}).items():
            target.writestr(f"{root}/{name}", content)
    return out


def graph(edit: Edit) -> dict[str, Callable[[bytes], bytes]]:
    def change(content: bytes) -> bytes:
        value = json.loads(content)
        edit(value)
        return json.dumps(value).encode()

    return {"models/model.json": change}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_program(path)
    assert str(path) in caught.value.found
    assert caught.value.fix
    return caught.value.found.replace(str(path), "")  # the folder is named after the test


def test_a_program_is_loaded_with_what_it_takes(saved: Path) -> None:
    module, facts, _ = load_program(saved)
    torch.manual_seed(0)
    image = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(module(image), Net().eval()(image))
    assert facts.shape == ("axis0", 3, 8, 8)
    assert facts.batch is None


def test_a_baked_batch_is_told(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Net().eval(), (torch.ones(2, 3, 8, 8),)), tmp_path / "baked.pt2")
    assert program_facts(tmp_path / "baked.pt2").batch == 2


def _first_node(value: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = value["graph_module"]["graph"]["nodes"][0]
    return node


def _expression(text: str) -> Edit:
    def edit(value: dict[str, Any]) -> None:
        for tensor in value["graph_module"]["graph"]["tensor_values"].values():
            for size in tensor["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = text

    return edit


def _name(text: str) -> Edit:
    def edit(value: dict[str, Any]) -> None:
        _first_node(value)["inputs"][0]["name"] = text

    return edit


def _parameter(text: str) -> Edit:
    def edit(value: dict[str, Any]) -> None:
        value["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = text

    return edit


EDITS: dict[str, Edit] = {
    "an operator that runs programs": lambda value: _first_node(value).update(target="torch.os.system"),
    "an operator that opens files": lambda value: _first_node(value).update(target="torch.ops.aten.from_file.default"),
    "an extension": lambda value: _first_node(value).update(target="#anything"),
    "a call by attribute": lambda value: _first_node(value).update(target="_operator.methodcaller"),
    "an expression that calls": _expression("exec(chr(1))"),
    "an expression with attributes": _expression("(1).__class__"),
    "an endless power": _expression("Pow(Integer(9), Pow(Integer(9), Integer(99)))"),
    "a name that is code": _name("x=print(1), y"),
    "a parameter that is code": _parameter('a"), print(1'),
    "a tree that imports": lambda value: value["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"__enum__": true, "fqn": "antigravity:x"}]'
    ),
    "training": lambda value: next(
        node for node in value["graph_module"]["graph"]["nodes"] if "batch_norm" in node["target"]
    )["inputs"][5].update(arg={"as_bool": True}),
    "a newer PyTorch": lambda value: value["schema_version"].update(major=99),
    "no graph": lambda value: value.clear(),
}
SAID = {"a newer PyTorch": "newer than this one", "training": "training mode", "no graph": "damaged"}


@pytest.mark.parametrize("what", EDITS)
def test_what_would_run_is_refused_before_torch_reads_it(
    what: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.export.load was called")

    monkeypatch.setattr(torch.export, "load", never)
    assert SAID.get(what, "refused") in refusal(edited(saved, tmp_path / "bad.pt2", graph(EDITS[what])))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_pickles_are_refused(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    torch.save(_Evil(), stream)
    evil = {"sample_inputs/model.pt": lambda _: stream.getvalue()}
    assert "builtins.print" in refusal(edited(saved, tmp_path / "inputs.pt2", evil))
    config = {
        "model_weights_config.json": lambda content: content.replace(b'"use_pickle": false', b'"use_pickle": true')
    }
    assert "no plain tensor" in refusal(edited(saved, tmp_path / "weights.pt2", config))
    for added in ("data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/../../climbs", "data/x.so"):
        path = edited(saved, tmp_path / "added.pt2", {}, {added: pickle.dumps(_Evil())})
        assert "more than a program of tensors" in refusal(path)
    assert capsys.readouterr().out == ""


def test_guards_of_the_file_are_never_run(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = graph(lambda value: value.update(guards_code=["print('run') is None"]))
    module, _, _ = load_program(edited(saved, tmp_path / "guards.pt2", changed))
    module(torch.ones(1, 3, 8, 8))
    assert capsys.readouterr().out == ""


def test_damage_is_said(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    (tmp_path / "cut.pt2").write_bytes(content[:-200])
    assert "damaged" in refusal(tmp_path / "cut.pt2")
    place = content.index(b"torch.ops.aten.relu")
    (tmp_path / "flipped.pt2").write_bytes(content[:place] + b"T" + content[place + 1 :])
    assert "checksum" in refusal(tmp_path / "flipped.pt2")
    torch.save({"x": torch.ones(1)}, tmp_path / "weights.pt2")
    assert "no program of torch.export" in refusal(tmp_path / "weights.pt2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_torchscript_comes_with_the_lines_that_convert_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = Net().eval(), torch.ones(1, 3, 8, 8)
    torch.jit.save(torch.jit.trace(net, image), tmp_path / "net.pt")  # type: ignore[no-untyped-call]
    from modelport.model.weights.checkpoint import read_weights_file
    from modelport.model.weights.file import decode

    with pytest.raises(CheckpointError, match="TorchScript") as caught:
        decode(read_weights_file(tmp_path / "net.pt"), str(tmp_path / "net.pt"))
    lines = [line.strip() for line in caught.value.fix.splitlines()[1:]]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines).replace("1, 3, 224, 224", "1, 3, 8, 8"))  # noqa: S102 - what the message tells to run
    module, _, _ = load_program(tmp_path / "net.pt2")
    assert torch.equal(module(image), net(image))
