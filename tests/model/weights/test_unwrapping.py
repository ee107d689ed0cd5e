"""Which state dict of a file is taken, and what is said of prefixes and dtypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Call
from modelport.core.errors import CheckpointError
from modelport.model.weights.checkpoint import StateDict, compare, read_checkpoint
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Checkpoint, GivenKey

BARE = Checkpoint()


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def raw() -> dict[str, torch.Tensor]:
    return {key: torch.full_like(value, 1) for key, value in net().state_dict().items()}


def averaged() -> dict[str, torch.Tensor]:
    return {key: torch.full_like(value, 2) for key, value in net().state_dict().items()}


def read(content: Any, tmp_path: Path, spec: Checkpoint = BARE) -> StateDict:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    return read_checkpoint(path, spec, net().state_dict().keys())


@pytest.mark.parametrize("names", [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema")])
def test_of_two_sets_the_averaged_one_is_taken_and_said(names: tuple[str, str], tmp_path: Path) -> None:
    state = read({names[0]: raw(), names[1]: averaged(), "epoch": 3}, tmp_path)
    assert float(state.tensors["0.bias"][0]) == 2
    (said,) = state.notes
    assert f"'{names[1]}' was taken, the averaged weights; not '{names[0]}'" in said
    assert f"--checkpoint-key {names[0]}" in said


@pytest.mark.parametrize("key", ["state_dict", "state_dict_ema", "nested.ema"])
def test_the_users_key_decides(key: str, tmp_path: Path) -> None:
    content = {"state_dict": raw(), "state_dict_ema": averaged(), "nested": {"ema": averaged()}}
    state = read(content, tmp_path, GivenKey(unwrap=["x"], key=key))
    assert float(state.tensors["0.bias"][0]) == (1 if key == "state_dict" else 2)
    assert "as --checkpoint-key says" in state.notes[0]


@pytest.mark.parametrize("content", [{"state_dict": raw()}, raw()])
def test_a_key_that_is_not_there_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no state dict under 'ema'") as caught:
        read(content, tmp_path, GivenKey(unwrap=["ema"], key="ema"))
    assert ("state_dict" if "state_dict" in content else "it is bare") in caught.value.fix


def test_the_only_set_is_taken_and_said(tmp_path: Path) -> None:
    state = read({"model": raw(), "optimizer": {"lr": 0.1}}, tmp_path)
    assert state.notes == ("the state dict under 'model' was taken",)


def test_the_set_that_fits_is_taken(tmp_path: Path) -> None:
    other = {f"teacher.{key}": value for key, value in averaged().items() if "weight" in key}
    assert float(read({"ema": other, "student": raw()}, tmp_path).tensors["0.bias"][0]) == 1


@pytest.mark.parametrize(
    ("prefix", "who"), [("_orig_mod.", "torch.compile"), ("module.", "DataParallel"), ("_orig_mod.module.", "compile")]
)
def test_a_wrappers_prefix_is_taken_off_where_other_keys_do_not_fit(prefix: str, who: str, tmp_path: Path) -> None:
    content = {f"{prefix}{key}": value for key, value in raw().items() if key != "0.bias"}
    state = read(content, tmp_path)
    assert f"every key begins with '{prefix}'" in state.notes[0]
    assert who in state.notes[0]
    report = compare(net(), state)
    assert report.missing == ("0.bias",)
    assert report.unexpected == ()


def test_a_prefix_of_some_keys_stays(tmp_path: Path) -> None:
    content = raw()
    content["module.0.bias"] = content.pop("0.bias")
    assert compare(net(), read(content, tmp_path)).unexpected == ("module.0.bias",)


def test_float64_is_called_float64(tmp_path: Path) -> None:
    state = read(
        {key: value.double() if value.is_floating_point() else value for key, value in raw().items()}, tmp_path
    )
    assert compare(net(), state).notes == ("6 tensors converted from float64 to float32",)


@pytest.mark.slow
def test_check_export_and_run_take_the_key(tiny_path: Path, tiny: Recipe, tmp_path: Path, call: Call) -> None:
    from modelport.model.architectures import build_random

    sets = {key: build_random(tiny.network, seed).state_dict() for key, seed in (("state_dict", 0), ("ema", 1))}
    torch.save(sets, tmp_path / "both.pth")
    said = call("check", tiny_path, "--weights", tmp_path / "both.pth", "--json").json["notes"]
    assert any("as the recipe says" in note and "--checkpoint-key ema" in note for note in said)
    said = call("check", tiny_path, "--weights", tmp_path / "both.pth", "--checkpoint-key", "ema", "--json").json[
        "notes"
    ]
    assert any("'ema' was taken, as --checkpoint-key says" in note for note in said)
    given = ("--weights", tmp_path / "both.pth", "--checkpoint-key", "emma")
    call("export", tiny_path, *given, "--out", tmp_path / "net.onnx").refused("both.pth", "'emma'", "ema")
    call("run", tiny_path, *given, "--data", tmp_path, "--out", tmp_path / "out").refused()
