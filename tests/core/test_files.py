"""Laws of opening a user's file, and of making foreign text plain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.errors import DataError, RecipeError
from modelport.core.files import open_regular, read_regular, read_regular_text
from modelport.core.text import plain, plain_lines


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, word in ((pipe, "named pipe"), (Path("/dev/zero"), "device"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=word):
            open_regular(path)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: reading it would take all memory
    with pytest.raises(RecipeError, match="more than the 1000"):
        read_regular(file, 1000, RecipeError)


def test_a_missing_file_and_a_nul_in_its_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_regular(tmp_path / "gone", 10)
    with pytest.raises(DataError, match="null"):
        read_regular(tmp_path / "a\0b", 10)


def test_text_of_another_encoding_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="byte 2"):
        read_regular_text(file)


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_plain_text_is_one_line_without_control_characters_and_encodes(text: str) -> None:
    shown = plain(text)
    shown.encode("utf-8")
    assert all(character.isprintable() for character in shown if character.isascii())
    assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown


def test_what_is_simply_text_stays() -> None:
    assert plain("Bälle 漢字 ✓ [red]") == "Bälle 漢字 ✓ [red]"
    assert plain_lines("a\n\tb\x1b[2J") == "a\n\tb\\x1b[2J"
    assert plain("abcdef", 4) == "abc…"
