"""The text form of AIPP files: ``aipp_op { key: value … }``, read strictly and written."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.files import read_regular
from modelport.core.text import plain

MAX_BYTES = 1024 * 1024
# A word, a quoted text, or a mark; a comment, after # or //, reaches to the end of the line.
_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|(?:\#|//)[^\n]*)|(?P<quoted>"[^"\n]*"|'[^'\n]*')|(?P<mark>[{}:])|(?P<word>(?:(?!//)[^\s{}:,;#"'])+)"""
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it is written, and its line."""

    text: str
    line: int


# The keys of one ``aipp_op``, in the order of the file.
Block = dict[str, Entry]


def read_blocks(path: Path) -> list[Block]:
    """Return the ``aipp_op`` blocks of a file, with or without a byte order mark.

    Bytes of comments are passed over in any encoding. Raises DataError, with the line, where it is no such file.
    """
    content = read_regular(path, MAX_BYTES, DataError, "give the file of --insert_op_conf")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: UTF-16 text, which ATC does not read", "save it as UTF-8")
    # A byte that is no UTF-8 becomes a lone surrogate: seen only where it is not in a comment.
    return parse_blocks(content.decode("utf-8-sig", "surrogateescape"), str(path))


def parse_blocks(text: str, place: str) -> list[Block]:
    """Return the blocks that ``text`` spells; ``place`` names the file in errors. Raises DataError with the line."""
    tokens = _Tokens(text, place)
    blocks = []
    while (token := tokens.next()) is not None:
        if token.text != "aipp_op":
            raise tokens.wrong(token, "aipp_op")
        tokens.skip(":")
        blocks.append(_block(tokens))
    if not blocks:
        raise DataError(f"{place}: holds no aipp_op", "write aipp_op { aipp_mode: static … }")
    return blocks


def _block(tokens: _Tokens) -> Block:
    block: Block = {}
    tokens.expect("{")
    while True:
        key = tokens.need("a key or }")
        if key.text == "}":
            return block
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.text):
            raise tokens.wrong(key, "a key or }")
        tokens.expect(":")
        value = tokens.need("a value")
        if value.text in ("{", "}", ":"):
            raise tokens.wrong(value, f"the value of {key.text}")
        if key.text in block:
            raise DataError(
                f"{tokens.place}, line {key.line}: {key.text} stands there again, first in line {block[key.text].line}",
                "give every key once",
            )
        block[key.text] = Entry(value.text, key.line)


class _Tokens:
    """The tokens of a text, one by one."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self._left = deque(_split(text, place))
        self._last = text.count("\n") + 1

    def next(self) -> Entry | None:
        return self._left.popleft() if self._left else None

    def skip(self, mark: str) -> None:
        if self._left and self._left[0].text == mark:
            self._left.popleft()

    def need(self, what: str) -> Entry:
        token = self.next()
        if token is None:
            raise DataError(
                f"{self.place}, line {self._last}: the file ends where {what} is wanted", "close aipp_op with }"
            )
        return token

    def expect(self, mark: str) -> None:
        token = self.need(mark)
        if token.text != mark:
            raise self.wrong(token, mark)

    def wrong(self, token: Entry, wanted: str) -> DataError:
        return DataError(
            f"{self.place}, line {token.line}: '{token.text}' stands where {wanted} is wanted", "write key: value"
        )


def _split(text: str, place: str) -> Iterator[Entry]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise DataError(
                f"{place}, line {line}: '{plain(text[at])}' begins nothing that belongs there", "close the quotes"
            )
        if found.lastgroup != "skip":
            token = found.group().strip("\"'")
            if not token.isprintable():
                raise DataError(
                    f"{place}, line {line}: '{plain(token, 60)}' holds bytes that are no plain UTF-8 text",
                    "write it in ASCII; comments alone may hold any bytes",
                )
            yield Entry(token, line)
        line += found.group().count("\n")
        at = found.end()
