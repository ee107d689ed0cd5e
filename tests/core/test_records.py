"""A record is what was written, or none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from modelport.core.artifacts import read_record, write_record

VALUE = {"in_flight": 2, "notes": ["ä", "b"], "share": 0.1, "of": {"model.bin": "00"}}


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "r.json", VALUE)
    assert read_record(tmp_path / "r.json") == VALUE
    assert json.loads((tmp_path / "r.json").read_text())["in_flight"] == 2


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_record(path, VALUE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        # Where a flip only exchanges a space, nothing was changed.
        assert read_record(path) in (None, VALUE)
    path.write_bytes(whole.replace(b'"in_flight": 2', b'"in_flight": 9'))
    assert read_record(path) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"record_sha256": "\\ud800"}'])
def test_what_is_no_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    assert read_record(tmp_path / "r.json") is None


def test_neither_a_pipe_nor_a_folder_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        assert read_record(tmp_path / name) is None
