"""Weights files: what is read, and what is refused."""

from __future__ import annotations

import argparse
import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from modelport.core import pickle_scan
from modelport.core.errors import CheckpointError
from modelport.model.weights.checkpoint import read_checkpoint
from modelport.recipes.load import load_recipe
from modelport.recipes.tables import Checkpoint

MOCO = load_recipe("moco-v2").checkpoint
BARE = Checkpoint(unwrap=[], strip_prefix="")
Write = Callable[[Any], Path]


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())


@pytest.fixture(params=["zip", "legacy"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Save a value in each of torch's two formats."""

    def save(value: Any) -> Path:
        path = tmp_path / f"{request.param}.pth.tar"
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return save


def refusal(path: Path, spec: Checkpoint = BARE) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, spec)
    assert str(path) in caught.value.found
    assert caught.value.fix
    return caught.value.found.replace(str(path), "")  # the folder is named after the test


def file(tmp_path: Path, content: bytes, name: str = "weights.pth") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


# Reading


def test_both_torch_formats_are_unwrapped_and_stripped(write: Write) -> None:
    tensors = net().state_dict()
    path = write({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in tensors.items()}})
    read = read_checkpoint(path, MOCO)
    assert list(read.tensors) == list(tensors)
    assert all(torch.equal(read.tensors[key], value) for key, value in tensors.items())
    assert read.notes == ()
    assert len(read.sha256) == 64


def test_format_is_decided_by_content(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(4)}
    save_file(tensors, tmp_path / "w.safetensors")
    torch.save(tensors, tmp_path / "torch.safetensors")
    (tmp_path / "safetensors.pth").write_bytes((tmp_path / "w.safetensors").read_bytes())
    for name in ("w.safetensors", "torch.safetensors", "safetensors.pth"):
        read = read_checkpoint(tmp_path / name, BARE).tensors
        assert sorted(read) == ["a", "n"]
        assert torch.equal(read["a"], tensors["a"])


def test_bare_file_is_taken_with_a_note(write: Write) -> None:
    read = read_checkpoint(write({"a": torch.ones(2)}), MOCO)
    assert list(read.tensors) == ["a"]
    assert "not wrapped in 'state_dict': taken as a bare state dict" in read.notes
    assert "no key begins with 'module.': nothing taken off" in read.notes


def test_parameters_and_views_become_plain_tensors(write: Write) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    read = read_checkpoint(write({"p": torch.nn.Parameter(base), "t": base.t()}), BARE).tensors
    assert all(type(tensor) is torch.Tensor and not tensor.requires_grad for tensor in read.values())
    assert all(tensor.is_contiguous() for tensor in read.values())
    assert torch.equal(read["t"], base.t())


def test_attributes_on_a_tensor_are_not_called(write: Write) -> None:
    tensor = torch.ones(2)
    tensor.detach = torch.Size  # type: ignore[assignment]
    path = write({"a": tensor})
    assert b"_rebuild_from_type_v2" in path.read_bytes()
    assert torch.equal(read_checkpoint(path, BARE).tensors["a"], torch.ones(2))


def test_namespace_and_numpy_scalars_may_ride_along(write: Write) -> None:
    extras = {"args": argparse.Namespace(lr=0.1, schedule=[1, 2]), "best": np.float64(0.5), "n": np.int64(3)}
    assert list(read_checkpoint(write({"state_dict": {"a": torch.ones(1)}, **extras}), MOCO).tensors) == ["a"]


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_of_both_generations(tmp_path: Path, module: str) -> None:
    buffer = io.BytesIO()
    torch.save(
        {"state_dict": {"a": torch.ones(1)}, "best": np.float32(1)}, buffer, _use_new_zipfile_serialization=False
    )
    content = buffer.getvalue()
    assert b"numpy._core.multiarray\n" in content
    path = file(tmp_path, content.replace(b"numpy._core.multiarray\n", f"{module}\n".encode()))
    assert list(read_checkpoint(path, MOCO).tensors) == ["a"]


def test_known_mistake_is_explained(write: Write) -> None:
    for prefix in ("module.encoder_q.", "encoder_q."):
        path = write({"state_dict": {f"{prefix}conv1.weight": torch.ones(1), "module.queue": torch.ones(1)}})
        assert "pre-training checkpoint" in refusal(path, MOCO)


def test_partly_prefixed_keys_are_refused(write: Write) -> None:
    path = write({"state_dict": {"module.a": torch.ones(1), "odd": torch.ones(1)}})
    assert "1 of 2 keys do not begin with 'module.': odd" in refusal(path, MOCO)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"epoch": 3, "model": {}}, "has no 'state_dict'; its keys are epoch, model"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"state_dict": 3}, "a int where a state dict should be"),
        ([1], "a list where"),
        ({"state_dict": {1: torch.ones(1)}}, "no text"),
        ({"state_dict": {"a": torch.ones(1), "extra": 3, "args": argparse.Namespace()}}, "extra (int), args ("),
        (
            {"state_dict": {"good": torch.ones(1), "bad": torch.tensor([1.0, float("nan")])}},
            "NaN or infinite values in bad",
        ),
        ({"state_dict": {"bad": torch.tensor(float("-inf"))}}, "NaN or infinite values in bad"),
        ({"state_dict": {"s": torch.eye(3).to_sparse()}}, "s (sparse or nested)"),
        ({"state_dict": {"c": torch.ones(2, dtype=torch.complex64)}}, "c (complex64)"),
        ({"state_dict": {"m": torch.ones(2, device="meta")}}, "m (no values)"),
        ({"state_dict": {"wide": torch.ones(1).expand(10**12)}}, "claims far more values"),
    ],
)
def test_contents_that_are_no_plain_state_dict(write: Write, value: Any, words: str) -> None:
    assert words in refusal(write(value), MOCO)


@pytest.mark.filterwarnings("ignore")  # building a quantised tensor is deprecated
def test_quantised_tensors_are_refused(write: Write) -> None:
    path = write({"state_dict": {"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}})
    assert "q (qint8)" in refusal(path, MOCO)


# Code


class Hostile:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def test_code_is_refused_by_name_and_not_run(write: Write, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    path = write(
        {"state_dict": [Hostile(os.system, f"touch '{marker}'"), Hostile(eval, "1"), Hostile(subprocess.run, "x")]}
    )
    found = refusal(path, MOCO)
    assert "builtins.eval, posix.system, subprocess.run" in found
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_plain_pickle_of_any_protocol(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "it ran"
    twice = [Hostile(os.system, f"touch '{marker}'"), Hostile(os.system, "true"), Hostile(os.popen, "true")]
    path = file(tmp_path, pickle.dumps(twice, protocol))
    assert "os.popen, posix.system" in refusal(path)
    assert not marker.exists()


def test_code_in_a_torch_file_of_protocol_4(tmp_path: Path) -> None:
    for new in (True, False):
        path = tmp_path / "four.pth"
        torch.save(
            [Hostile(os.system, "true"), Hostile(eval, "1")],
            path,
            pickle_protocol=4,
            _use_new_zipfile_serialization=new,
        )
        assert "builtins.eval, posix.system" in refusal(path)
        torch.save({"a": torch.ones(1)}, path, pickle_protocol=4, _use_new_zipfile_serialization=new)
        assert "pickle protocol 4" in refusal(path)


def test_code_behind_stack_tricks_is_named(tmp_path: Path) -> None:
    memo = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94(KK0h\x00h\x01\x93\x8c\x04true\x85R."
    assert "posix.system" in refusal(file(tmp_path, memo))
    assert "os.system" in refusal(file(tmp_path, b"(S'true'\nios\nsystem\n."))  # INST
    assert "copyreg extension 7" in refusal(file(tmp_path, b"\x80\x02\x82\x07."))
    assert "posix.system" in refusal(file(tmp_path, b"\x80\x02cposix\nsystem\nX\xff\xff"))  # and then malformed
    assert "posix.system" in refusal(file(tmp_path, b"\x80\x04\x8c\x05posix\x8c\x06system(NN1\x93."))  # POP_MARK
    assert "code.code" in refusal(file(tmp_path, b"\x80\x04\x8c\x04code2\x93."))  # DUP


def test_scan_of_an_endless_pickle_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_scan, "MAX_OPCODES", 100)
    scan = pickle_scan.scan_pickles(io.BytesIO(b"\x80\x02cposix\nsystem\n" + b"N0" * 100 + b"."))
    assert scan.names == {"posix.system"}
    assert not scan.complete


def test_whole_model_is_refused(write: Write) -> None:
    assert "torch.nn.modules.conv.Conv2d" in refusal(write(net()))


def test_torch_loader_stays_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "it ran"
    path = tmp_path / "w.pth"
    torch.save([Hostile(os.system, f"touch '{marker}'")], path)
    monkeypatch.setattr("modelport.model.weights.file._refuse_code", lambda *_: None)
    refusal(path)
    assert not marker.exists()


# What is no checkpoint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "an HTML page, a failed download?"),
        (b"<!-- x -->\n<html></html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML text"),
        ("schön\n".encode() * 10, "a text file"),
        (gzip.compress(b"x", mtime=0), "packed with gzip"),
        (bytes(1000), "neither a torch checkpoint"),
        (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
        (b"PK\x03\x04", "damaged"),
    ],
)
def test_strangers_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(file(tmp_path, content))


def test_archives_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.pth.tar", "w") as archive:
        archive.add(__file__, "pickle")
    assert "torch before 0.1.10" in refusal(tmp_path / "old.pth.tar")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("model.pth", b"x")
    assert "no data.pkl" in refusal(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as script:
        script.writestr("m/data.pkl", b"x")
        script.writestr("m/constants.pkl", b"x")
    assert "TorchScript" in refusal(tmp_path / "script.pt")


def test_repacked_zip_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as source,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "repacked" in refusal(tmp_path / "bomb.pth")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_a_doubled_entry_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("w/data.pkl", archive.read("w/data.pkl"))
    assert "doubled entries" in refusal(tmp_path / "w.pth")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.pth")
    assert "a folder" in refusal(tmp_path)
    assert "is a device, not a file" in refusal(Path("/dev/null"))


def test_every_truncation_is_refused(write: Write, tmp_path: Path) -> None:
    content = write({"state_dict": {"a": torch.arange(3.0), "n": torch.tensor(1)}}).read_bytes()
    for length in range(0, len(content), 3):
        refusal(file(tmp_path, content[:length], "cut.pth"), MOCO)
    refusal(file(tmp_path, content[:-1], "cut.pth"), MOCO)


def test_truncated_safetensors_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    for length in range(len(content)):
        refusal(file(tmp_path, content[:length], "cut.safetensors"))


def test_flipped_bit_in_a_zip_is_found(tmp_path: Path) -> None:
    torch.save({"a": torch.full((64,), 1.5)}, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    at = content.index(np.float32(1.5).tobytes() * 64)
    content[at + 2] ^= 1
    assert "checksum of" in refusal(file(tmp_path, bytes(content)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04", b"\x08" + bytes(7) + b"{"]), st.binary(max_size=200)
)
def test_random_bytes_raise_nothing_else(tmp_path: Path, head: bytes, tail: bytes) -> None:
    refusal(file(tmp_path, head + tail))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**6), value=st.integers(0, 255))
def test_one_changed_byte_raises_nothing_else(write: Write, tmp_path: Path, at: int, value: int) -> None:
    content = bytearray(write({"state_dict": {"a": torch.arange(3.0), "n": torch.tensor(1)}}).read_bytes())
    content[at % len(content)] = value
    try:
        read = read_checkpoint(file(tmp_path, bytes(content), "changed.pth"), MOCO)
    except CheckpointError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in read.tensors.values())


def test_importing_does_not_import_torch() -> None:
    rooms = "modelport.model.weights.checkpoint, modelport.model.weights.fetch"
    check = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
