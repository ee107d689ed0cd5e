"""The text form of AIPP files: ``aipp_op { key: value … }``, read strictly and written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelport.core.errors import DataError

MAX_BYTES = 1024 * 1024
# A word, a quoted text, or a mark; a comment reaches to the end of the line.
_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|\#[^\n]*)|(?P<quoted>"[^"\n]*"|'[^'\n]*')|(?P<mark>[{}:])|(?P<word>[^\s{}:,;#"']+)"""
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it is written, and its line."""

    text: str
    line: int


# The keys of one ``aipp_op``, in the order of the file.
Block = dict[str, Entry]


def read_blocks(path: Path) -> list[Block]:
    """Return the ``aipp_op`` blocks of a file. Raises DataError, with the line, where it is no such file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: too large for an AIPP file", "give the file of --insert_op_conf")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text", "give the file of --insert_op_conf") from error
    return parse_blocks(text, str(path))


def parse_blocks(text: str, place: str) -> list[Block]:
    """Return the blocks that ``text`` spells; ``place`` names the file in errors. Raises DataError with the line."""
    tokens = _Tokens(text, place)
    blocks = []
    while (token := tokens.next()) is not None:
        if token.text != "aipp_op":
            raise tokens.wrong(token, "aipp_op")
        _skip_colon(tokens)
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


def _skip_colon(tokens: _Tokens) -> None:
    if tokens.peek(":"):
        tokens.next()


class _Tokens:
    """The tokens of a text, one by one."""

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self._all = list(_split(text, place))
        self._at = 0
        self._last = text.count("\n") + 1

    def next(self) -> Entry | None:
        if self._at == len(self._all):
            return None
        self._at += 1
        return self._all[self._at - 1]

    def peek(self, text: str) -> bool:
        return self._at < len(self._all) and self._all[self._at].text == text

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
            raise DataError(f"{place}, line {line}: {text[at]!r} begins nothing that belongs there", "close the quotes")
        if found.lastgroup != "skip":
            yield Entry(found.group().strip("\"'"), line)
        line += found.group().count("\n")
        at = found.end()
