"""Every option of every command against values of its type that nobody means: exit code 2, or the work is done."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import typer
from given_graphs import classifier

from conftest import Answer, Call
from modelport.cli.main import app
from modelport.core.errors import UsageError
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.model.architectures import build_random
from modelport.recipes.schema import Recipe

LONG = "n" * 5000
INTEGERS = ("-1", str(10**18), "9" * 400, "1e3")
NUMBERS = ("nan", "inf", "-1", "1e300")
WORDS = ("", "unknown", "[/]", "9" * 400)
PATHS = ("", "missing", "slashed/x", "folder", "nested", "over", "utf16", "pipe", "/dev/zero", "a\0b", LONG)
# A whole pass, which a value that is right as it stands starts.
LONGEST_SECONDS = 10


@dataclass(frozen=True)
class Place:
    """A folder with one working input of each kind, and the words with which each command works on them."""

    folder: Path
    words: dict[str, list[str]]

    def renew(self) -> None:
        """Lay the hostile files out; a command may have written over one."""
        for name, content in CONTENTS.items():
            (self.folder / name).unlink(missing_ok=True)
            (self.folder / name).write_bytes(content)
        for name in ("missing", "folder", "["):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "folder").mkdir()
        if not (self.folder / "pipe").is_fifo():
            (self.folder / "pipe").unlink(missing_ok=True)
            os.mkfifo(self.folder / "pipe")


FP16 = ("--precision", "fp16")
CONTENTS = {
    "slashed": b"",
    "nested": b"[" * 100_000,
    # An index in all but one number.
    "over": b'{"schema": "modelport.tensors/1", "recipe": "tiny", "recipe_sha256": "", "variant": null, "files": [], '
    b'"views": 1, "skipped": [], "dtype": "float32", "layout": "NCHW", "shape": [1e400], "nodes": NaN}',
    "utf16": '{"schema": "x"}'.encode("utf-16"),
}


@pytest.fixture(scope="module")
def place(tiny: Recipe, tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(tiny_path, folder / "tiny.toml")
    draw_imagenet(folder / "data", count=10, train_per_class=1, seed=0)
    state = {f"module.{name}": value for name, value in build_random(tiny.network, 0).state_dict().items()}
    torch.save({"state_dict": state}, folder / "w.pth")
    onnx.save(classifier(tiny, 10), folder / "m.onnx")
    (folder / "results").mkdir()
    for sample in (folder / "data" / "val").rglob("*.*"):
        np.zeros((1, 10), np.float32).tofile(folder / "results" / f"{sample.stem}_0.bin")
    given = "tiny.toml --weights w.pth"
    words = {
        "fetch": "tiny.toml",
        "check": given,
        "show": "tiny.toml",
        "export": f"{given} --out x.onnx",
        "compile": "tiny.toml m.onnx --engine onnxruntime --out c.onnx",
        "run": "tiny.toml --model m.onnx --data data --out out --engine onnxruntime --force",
        "preprocess": "tiny.toml --data data --out tensors/t --force",
        "evaluate": "tiny.toml --results results --data data",
        "init": "m.onnx --out r.toml --force",
        "verify": "out",
        "compare": "out out",
        "history": "out --force",
        "report": "out --out page.html --force",
        "trace": "tiny.toml --source m.onnx --data data --out traced --engine onnxruntime --samples 2 --force",
        "power": f"{given} --data data --out planted --engine onnxruntime --limit 2 --faults 1 --replays 0 --force",
        "diff": "m.onnx --engine onnxruntime,openvino --random 1",
        "probe": "tiny.toml --model m.onnx --data data --out probed --limit 4 --force",
        "bench": "--model m.onnx --engine onnxruntime --batch 1 --duration 0.01 --concurrency 1",
        "tune": f"{given} --data data --out t.toml --engines onnxruntime --seconds 0.01",
        "samples data": "imagenet --out drawn --count 2",
        "samples weights": "tiny.toml --data data --out fitted.pth",
        "aipp write": "tiny.toml --out a.cfg",
        "aipp check": "a.cfg --recipe tiny.toml",
        "aipp apply": "a.cfg data/val --out applied",
    }
    return Place(folder, {command: line.split() for command, line in words.items()})


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield name and command of each leaf of the tree."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


TREE = dict(commands(typer.main.get_command(app)))
OPTIONS = [
    (name, option.opts[0])
    for name, command in TREE.items()
    for option in command.params
    if option.opts[0].startswith("--") and option.opts[0] != "--help" and not option.is_flag and name != "demo"
]


def hostile(name: str, flag: str) -> tuple[str, ...]:
    """Return the hostile values of an option, by its type."""
    option = next(option for option in TREE[name].params if flag in option.opts)
    kind = str(option.type_descriptor.annotation)
    by_type = {"Path": PATHS, "int": INTEGERS, "float": NUMBERS, "str": WORDS}
    return next(values for word, values in by_type.items() if word in kind)


def test_the_tree_is_whole(place: Place) -> None:
    assert len(OPTIONS) > 90
    assert set(TREE) - set(place.words) == {"doctor", "list", "demo"}


@pytest.mark.parametrize(("name", "flag"), OPTIONS, ids=[" ".join(option) for option in OPTIONS])
def test_no_value_of_an_option_is_a_crash(
    name: str, flag: str, place: Place, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr("modelport.jobs.tune.tune.source_for", searched)
    for value in hostile(name, flag):
        place.renew()
        if name.startswith("aipp") and not Path("a.cfg").exists():
            call("aipp", "write", "tiny.toml", "--out", "a.cfg")
        line = list(place.words[name])
        if flag in line:
            line[line.index(flag) + 1] = value
        else:
            line += [flag, value]
        answer = in_time(call, [*name.split(), *line])
        assert answer.code in (0, 2, 3), (value[:20], answer)
        assert "Traceback" not in answer.err and "a fault of modelport" not in answer.err
        assert answer.code != 2 or answer.err.strip()


@pytest.mark.parametrize("content", ["nested", "over", "utf16", "slashed"])
def test_no_json_of_a_user_is_a_crash(content: str, place: Place, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    place.renew()
    shutil.rmtree("coco", ignore_errors=True)
    Path("coco/val2017").mkdir(parents=True)
    for name in ("folder/index.json", "coco/instances_val2017.json", "p.json", "m.onnx.json", "results_summary.json"):
        Path(name).write_bytes(CONTENTS[content])
    compiling = place.words["compile"]
    for line, file in (
        (["evaluate", *place.words["evaluate"], "--tensors", "folder"], "folder/index.json"),
        (["preprocess", "nas-fpn", "--data", "coco", "--out", "o"], "coco/instances_val2017.json"),
        (["compile", *compiling[:3], "ascend", "--out", "x.om", "--soc", "310P3", "--plan", "p.json"], "p.json"),
        (["compile", *compiling[:3], "onnxruntime", "--out", "x.onnx", "--plan", "p.json", *FP16], "p.json"),
    ):
        call(*line).refused(file)
    # What another program left beside the results is passed over.
    assert call("evaluate", *place.words["evaluate"]).code == 3


def searched(*_: object, **__: object) -> None:
    """Stand in for the export and the passes, ten seconds: what is wrong with the words is told before."""
    raise UsageError("the search begins")


def in_time(call: Call, line: list[str]) -> Answer:
    """Run a command; TimeoutError where it does not end."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(line)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_SECONDS)
    try:
        return call(*line)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
