"""Files made to hang, to fill the memory or to hide a choice: each ends at once, naming the file."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modelport.core.errors import CheckpointError
from modelport.core.pickle_scan import MAX_INT_KEY, scan_pickles
from modelport.model.weights import checkpoint
from modelport.model.weights import file as weights_file
from modelport.model.weights.checkpoint import compare, read_checkpoint
from modelport.model.weights.content import describe_checkpoint
from modelport.recipes.tables import Checkpoint, KnownMistake

WRAPPED = Checkpoint(unwrap=["state_dict"], strip_prefix="")
DOUBLED = b")" + b"q\x00h\x00\x86" * 60  # t = (t, t), sixty deep
ODICT = b"ccollections\nOrderedDict\n"


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())


def archive(tmp_path: Path, pickle: bytes) -> Path:
    """Write a pickle where torch.save puts its own."""
    path = tmp_path / "w.pth"
    torch.save({}, path)
    with zipfile.ZipFile(path) as source:
        held = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in held.items():
            target.writestr(name, pickle if name.endswith("data.pkl") else content)
    return path


def refused(path: Path, spec: Checkpoint = WRAPPED) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, spec)
    assert str(path) in caught.value.found
    assert caught.value.fix
    return caught.value.found


def long(value: int) -> bytes:
    content = value.to_bytes(20, "little")
    return b"\x8a" + bytes([len(content)]) + content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"}" + DOUBLED + b"K\x01s", "a key that is a tuple"),
        (b"}(" + DOUBLED + b"K\x01u", "a key that is a tuple"),
        (ODICT + b"]" + DOUBLED + b"K\x01\x86a\x85R", "a key that is a tuple"),
        (ODICT + b")R" + DOUBLED + b"b", "a state that is no dictionary"),
        (b"ccollections\nCounter\n]" + DOUBLED + b"a\x85R", "a key that is a tuple"),
        (b"cbuiltins\nset\n]" + DOUBLED + b"a\x85R", "a key that is a tuple"),
        (DOUBLED + b")R", "no function"),  # torch would print it
        (b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + DOUBLED + b"X\x03\x00\x00\x00cpuK\x01tQ", "a key that"),
        (b"]" + b"q\x00]h\x00ah\x00a" * 60, "over and over"),  # lists
        (b")" + b"\x85" * 100_000, "nested"),
        (b"}(" + b"".join(long(n * (2**61 - 1)) + b"N" for n in range(1, 9)) + b"u", "huge integer"),
        (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R", "a size"),
        (b"ctorch\nFloatStorage\nJ\xff\xff\xff\x7f\x85R", "a size"),
    ],
)
def test_what_would_be_hashed_or_printed_for_ever_is_refused(tmp_path: Path, body: bytes, words: str) -> None:
    assert words in refused(archive(tmp_path, b"\x80\x02" + body + b"."))


def test_values_filled_from_the_outside_in_are_measured_too() -> None:
    # Each list is put twice into the next one before it is filled itself.
    lists = b"".join(b"]" + struct.pack("<BB", 0x71, n) + b"0" for n in range(61))
    fills = b"".join(b"h%ch%cah%ca0" % (n, n + 1, n + 1) for n in range(60))
    assert "over and over" in scan_pickles(io.BytesIO(b"\x80\x02" + lists + fills + b"N.")).danger


@pytest.mark.parametrize("new", [True, False])
def test_what_real_files_hold_is_no_danger(tmp_path: Path, new: bool) -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    held = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "extras": {0.5: 1, 3: OrderedDict(a=Counter("aab")), None: {1, 2, "x"}, b"y": (1, (2, (3,)))},
        "size": torch.Size([1, 2]),
        "id": {140_000_000_000_000: torch.float16, MAX_INT_KEY - 1: bytearray(b"abc")},
    }
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    assert list(read_checkpoint(tmp_path / "w.pth", WRAPPED).tensors) == list(model.state_dict())


def test_python_2_wrote_ordered_dictionaries_as_lists_of_pairs() -> None:
    body = b"\x80\x02" + ODICT + b"](](U\x01aK\x01e](U\x01bK\x02ee\x85R."
    scan = scan_pickles(io.BytesIO(body))
    assert scan.complete
    assert not scan.danger


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    assert "a named pipe" in refused(tmp_path / "w.pth")
    assert "a device" in refused(Path("/dev/zero"))


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": {str(n): torch.zeros(2000) for n in range(20)}}, path)
    content = bytearray(path.read_bytes())
    for at in range(len(content)):  # each entry of the directory claims 200 kB
        if content[at : at + 4] == b"PK\x01\x02":
            content[at + 20 : at + 28] = struct.pack("<II", 200_000, 200_000)
    path.write_bytes(content)
    assert "overlap" in refused(path)


def test_too_little_memory_is_no_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"state_dict": net().state_dict()}, tmp_path / "w.pth")

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", full)
    assert "not enough memory" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "entry",
    ['"dtype":"F77","shape":[1],"data_offsets":[0,4]', '"dtype":"F32","shape":[1],"data_offsets":[0,400]'],
)
def test_strange_safetensors_are_refused(tmp_path: Path, entry: str) -> None:
    header = b'{"a":{' + entry.encode() + b"}}"
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert "safetensors" in refused(tmp_path / "w.safetensors")


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a\x1b[31m\x00\ud800": 3}}, tmp_path / "w.pth")
    found = refused(tmp_path / "w.pth")
    assert "a\\x1b[31m\\x00\\ud800 (int)" in found
    found.encode()


# Wrappings


def prefixed(prefix: str, **more: Any) -> dict[str, Any]:
    return {"state_dict": {**{prefix + key: value for key, value in net().state_dict().items()}, **more}}


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("module.", "'module.' (DataParallel or AveragedModel)"),
        ("_orig_mod.", "'_orig_mod.' (torch.compile)"),
        ("module._orig_mod.", "'module._orig_mod.' (torch.compile, DataParallel or AveragedModel)"),
        ("_orig_mod.module.model.", "'_orig_mod.module.model.'"),
        ("backbone.", "'backbone.'"),
    ],
)
@pytest.mark.parametrize("strip", ["", "module."])
def test_a_prefix_that_hides_exactly_the_model_is_taken_off(
    tmp_path: Path, prefix: str, words: str, strip: str
) -> None:
    torch.save(prefixed(prefix), tmp_path / "w.pth")
    spec = Checkpoint(unwrap=["state_dict"], strip_prefix=strip)
    state = read_checkpoint(tmp_path / "w.pth", spec, net().state_dict().keys())
    assert compare(net(), state).fits
    if strip != prefix:
        assert any(f"every key begins with {words}" in note and "taken off" in note for note in state.notes)
    else:
        assert state.notes == ()


@pytest.mark.parametrize("strip", ["", "module."])
def test_averaged_models_are_named(tmp_path: Path, strip: str) -> None:
    torch.save(prefixed("module.", n_averaged=torch.tensor(7)), tmp_path / "w.pth")
    spec = Checkpoint(unwrap=["state_dict"], strip_prefix=strip)
    state = read_checkpoint(tmp_path / "w.pth", spec, net().state_dict().keys())
    assert compare(net(), state).fits
    assert "'n_averaged' was left out" in state.notes[0]


def test_plain_weights_are_left_alone_and_a_wrappers_prefix_goes_where_others_do_not_fit(tmp_path: Path) -> None:
    torch.save(prefixed(""), tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth", WRAPPED, net().state_dict().keys()).notes == ()
    torch.save(prefixed("_orig_mod.", **{"_orig_mod.more": torch.ones(1)}), tmp_path / "w.pth")
    state = read_checkpoint(tmp_path / "w.pth", WRAPPED, net().state_dict().keys())
    assert state.notes == ("every key begins with '_orig_mod.' (torch.compile): taken off",)
    with pytest.raises(CheckpointError, match=r"1 keys unexpected: more\n"):
        checkpoint.load_strictly(net(), state, "w.pth")


@pytest.mark.parametrize(
    "place",
    [
        lambda weights: {"state_dict_ema": weights},
        lambda weights: {"ema": {"state_dict": weights}},
        lambda weights: {"teacher": {f"module.{key}": value for key, value in weights.items()}},
    ],
)
def test_a_second_state_dict_is_said(tmp_path: Path, place: Callable[[Any], Any]) -> None:
    weights = net().state_dict()
    torch.save({"state_dict": weights, **place(net().state_dict()), "epoch": 3}, tmp_path / "w.pth")
    (note,) = read_checkpoint(tmp_path / "w.pth", WRAPPED).notes
    assert "'state_dict' was taken" in note
    assert f"not '{next(iter(place(weights)))}'" in note


def test_a_known_mistake_is_not_claimed_of_the_right_weights(tmp_path: Path) -> None:
    spec = Checkpoint(
        unwrap=["state_dict"],
        strip_prefix="",
        known_mistakes=[KnownMistake(key_prefix="queue", message="pre-training")],
    )
    torch.save(prefixed("", queue=torch.ones(1)), tmp_path / "w.pth")
    assert "queue" in read_checkpoint(tmp_path / "w.pth", spec, net().state_dict().keys()).tensors
    assert "pre-training" in refused(tmp_path / "w.pth", spec)


def test_a_file_is_described(tmp_path: Path) -> None:
    torch.save({"epoch": 3, **prefixed("module.")}, tmp_path / "w.pth")
    told = describe_checkpoint(tmp_path / "w.pth")
    held = told["state_dicts"]["'state_dict'"]
    assert held["tensors"] == len(net().state_dict())
    assert held["parameters"] == 4 * 3 * 9 + 4 + 4 * 4
    assert held["dtypes"] == ["float32", "int64"]
    assert held["prefix"] == "module."
    assert held["keys"]["module.0.weight"] == "float32 [4, 3, 3, 3]"
    assert told["beside"] == {"epoch": "int"}
    assert weights_file.MAX_ENTRIES >= 500_000
