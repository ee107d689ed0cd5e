"""Laws of reading JSON that others wrote: its values, or one error that names the file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.errors import DataError, RecipeError
from modelport.core.files import parse_json, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_what_json_writes_is_read_back_in_every_encoding_of_it(value: Any, encoding: str) -> None:
    assert parse_json(json.dumps(value).encode(encoding), "f.json") == value


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"1e400",
        b"[-1e400]",
        b'{"a": NaN}',
        b"[Infinity, 1]",
        b"9" * 5000,
        b"\xff\xfe\x00",
        b"\x80",
        b"",
        b"{",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_json_is_one_error_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"f\.json: is no JSON: ") as caught:
        read_json(file, error=RecipeError)
    assert caught.value.fix


def test_a_reader_that_tells_of_each_number_itself_gets_all(tmp_path: Path) -> None:
    assert math.isnan(parse_json("NaN", "f", finite=False))
    assert parse_json("1e400", "f", finite=False) == math.inf


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="named pipe"):
        read_json(tmp_path / "pipe")
