"""Text for people: what others wrote, made plain before a person or a terminal sees it, and the first few of many."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What moves the cursor, colours, hides or reorders its neighbours: control characters (Cc), format characters such as
# bidirectional overrides (Cf), lone surrogates of names that are not UTF-8 (Cs), line separators (Zl, Zp).
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object, limit: int | None = None) -> str:
    """Return ``str(text)`` on one line, each character that is not simply shown written as its escape (``\\x1b``).

    ``limit`` characters at most, where one is given; what is cut off is marked by ``…``. The result can be encoded in
    UTF-8 whatever went in.
    """
    shown = "".join(_shown(character) for character in str(text))
    return shown if limit is None or len(shown) <= limit else shown[: max(0, limit - 1)] + "…"


def plain_lines(text: object) -> str:
    """Return text of several lines made plain line by line; line feeds and tabs stay."""
    return "".join(c if c in "\n\t" else _shown(c) for c in str(text))


def lines_of(text: str) -> list[str]:
    """Return the lines of a file's text, which end in CR, LF or both, as Python's text files take them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many there are where not all are shown: ``a, b, c … (5 in all)``."""
    given = list(names)
    return ", ".join(given[:most]) + (f" … ({len(given)} in all)" if len(given) > most else "")


def listed(names: Iterable[str], most: int) -> str:
    """Return the first names, and how many are left out: ``a, b, c and 2 more``."""
    given = list(names)
    return ", ".join(given[:most]) + (f" and {len(given) - most} more" if len(given) > most else "")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which ``a2`` comes before ``a10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]


def _shown(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if unicodedata.category(character) not in UNSEEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
