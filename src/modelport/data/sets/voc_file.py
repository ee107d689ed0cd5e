"""A file of Pascal VOC's annotations, read without building entities or following anything that it names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from modelport.core.errors import DataError
from modelport.core.files import read_regular
from modelport.core.text import plain

# A crowded image has some hundred objects of half a kilobyte.
MAX_XML_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 20
_FIX = "write <annotation> with <object>s of a <name> and a <bndbox> of xmin, ymin, xmax, ymax in pixels"


@dataclass(slots=True)
class Element:
    """One element: its name, the line that it begins in, its own text, and what is in it."""

    name: str
    line: int
    text: str = ""
    inside: list[Element] = field(default_factory=list)

    def child(self, name: str) -> Element | None:
        """Return the first element of a name in it."""
        return next((one for one in self.inside if one.name == name), None)

    def words(self, name: str) -> str:
        """Return the text of the first element of a name in it, empty where there is none."""
        found = self.child(name)
        return "" if found is None else found.text.strip()


@dataclass(frozen=True, slots=True)
class VocObject:
    """One object: corners as the file counts them, and the line that it begins in."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    line: int


@dataclass(frozen=True, slots=True)
class VocFile:
    """What a file tells of its image."""

    file: Path
    image: str  # the name that it gives it
    size: tuple[int | None, int | None]
    objects: tuple[VocObject, ...]


def read_voc(file: Path) -> VocFile:
    """Read one file. Raises DataError, naming file and line, also for a DTD, which such a file does not have."""
    root = _tree(file, read_regular(file, MAX_XML_BYTES, DataError, _FIX))
    if root.name != "annotation":
        raise DataError(f"{file} line {root.line}: <{plain(root.name, 40)}>, not <annotation>", _FIX)
    size = root.child("size") or Element("size", root.line)
    objects = tuple(_object(file, one) for one in root.inside if one.name == "object")
    return VocFile(file, root.words("filename"), (_whole(size.words("width")), _whole(size.words("height"))), objects)


def _object(file: Path, one: Element) -> VocObject:
    name, box = plain(one.words("name"), 200), one.child("bndbox")
    if not name:
        raise DataError(f"{file} line {one.line}: an object without a name", _FIX)
    if box is None:
        raise DataError(f"{file} line {one.line}: an object without <bndbox>", _FIX)
    left, top, right, bottom = (_number(file, box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        raise DataError(
            f"{file} line {box.line}: xmax or ymax is less than xmin or ymin: {left:g} {top:g} {right:g} {bottom:g}",
            "write corners, not width and height: xmin and ymin are the upper left one's",
        )
    difficult = one.words("difficult") or "0"
    if difficult not in ("0", "1"):
        raise DataError(f"{file} line {one.line}: difficult is {plain(difficult, 40)}, neither 0 nor 1", _FIX)
    return VocObject(name, (left, top, right, bottom), difficult == "1", one.line)


def _number(file: Path, box: Element, key: str) -> float:
    text = box.words(key)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Beyond 1e15 pixels is no place in an image; NaN is within no limits.
    if not -1e15 < value < 1e15:
        raise DataError(f"{file} line {box.line}: {key} is {plain(text, 40)!r}, no number of pixels", _FIX)
    return value


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _tree(file: Path, content: bytes) -> Element:
    """Return the root. Raises DataError for what is no XML, for a DTD, and for elements nested too deeply."""
    parser, open_ = expat.ParserCreate(), [Element("", 0)]

    def begin(name: str, attributes: object) -> None:
        if len(open_) > MAX_DEPTH:
            raise DataError(f"{file} line {parser.CurrentLineNumber}: elements nested too deeply", _FIX)
        one = Element(name, parser.CurrentLineNumber)
        open_[-1].inside.append(one)
        open_.append(one)

    def end(name: str) -> None:
        open_.pop()

    def text(words: str) -> None:
        open_[-1].text += words

    def refuse(*what: object) -> NoReturn:
        # Entities of a DTD can grow to gigabytes or read other files.
        raise DataError(f"{file} line {parser.CurrentLineNumber}: a document type, which no annotation has", _FIX)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(
            f"{file} line {error.lineno}: no valid XML: {expat.errors.messages[error.code]}", _FIX
        ) from error
    except (ValueError, LookupError) as error:  # an encoding that nobody knows
        raise DataError(f"{file}: no valid XML: {plain(error, 100)}", "save it as UTF-8") from error
    return open_[0].inside[0]
