"""Thumbnails of a result folder: ``thumbnails/index.json`` and the JPEG files that it names, as data of the page.

``index.json`` is {file: {"id", "width", "height"}}; width and height are those of the image in whose pixels boxes lie.
Whoever made the folder, nothing outside it is read, a file is a JPEG of 64 KiB at most, and whatever is none is told.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelport.core.errors import DataError
from modelport.core.files import parse_json
from modelport.core.output_folder import INDEX, THUMBNAILS
from modelport.core.text import plain
from modelport.report.result_folder import FIX, ResultFolder

PLACE = f"{THUMBNAILS}/{INDEX}"
MOST_INDEX_BYTES = 1024 * 1024
MOST_BYTES = 64 * 1024
MOST_ENTRIES = 2000
# Sides of an image, in pixels.
MOST_SIDE = 1_000_000
FILE = re.compile(r"[0-9]{1,9}\.jpe?g", re.ASCII)
JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample's thumbnail lies, and the size of its image."""

    file: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail as data of the page, and the size of the image that it shows."""

    data: str  # base64, of a JPEG
    width: int
    height: int

    @property
    def uri(self) -> str:
        """What an ``img`` shows."""
        return f"data:image/jpeg;base64,{self.data}"


@dataclass(slots=True)
class Thumbnails:
    """The thumbnails of one folder, by sample; ``said`` is what is wrong with them."""

    folder: ResultFolder
    places: Mapping[str, Place] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    refused: int = 0  # entries of the index that are none
    broken: int = 0  # files that are no thumbnails

    @staticmethod
    def of(folder: ResultFolder) -> Thumbnails:
        """Read the index; without one, or with a broken one, there are none."""
        found = Thumbnails(folder)
        if not folder.has(THUMBNAILS):
            return found
        try:
            content = folder.content(PLACE, MOST_INDEX_BYTES)
            value = parse_json(content, str(folder.path / PLACE), fix=FIX)
        except DataError as error:
            found.said.append(f"no pictures: {plain(error.found, 300)}")
            return found
        if not isinstance(value, dict):
            found.said.append(f"no pictures: {PLACE} is no list of files")
            return found
        entries = list(value.items())[:MOST_ENTRIES]
        told = [(entry["id"], place) for file, entry in entries if (place := _place(file, entry)) is not None]
        found.places, found.refused = dict(told), len(entries) - len(told)
        return found

    def picture(self, sample: str, room: int) -> Picture | None:
        """Return a sample's thumbnail where it has one, of ``room`` characters at most."""
        place = self.places.get(sample)
        if place is None:
            return None
        try:
            content = self.folder.content(f"{THUMBNAILS}/{place.file}", MOST_BYTES)
        except DataError:
            content = b""
        if not content.startswith(JPEG):
            self.broken += 1
            return None
        data = b64encode(content).decode("ascii")
        return Picture(data, place.width, place.height) if len(data) <= room else None

    def notes(self) -> list[str]:
        """Return what is wrong with them."""
        count = self.refused + self.broken
        more = f"{count} thumbnails are left out: no JPEG of at most {MOST_BYTES // 1024} KiB in the folder"
        return [*self.said, *([more] if count else [])]


def _place(file: str, entry: Any) -> Place | None:
    """Return where a thumbnail lies; None for an entry that is none."""
    if FILE.fullmatch(file) is None or not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return None
    width, height = entry.get("width"), entry.get("height")
    # A bool is an int to Python.
    if type(width) is not int or type(height) is not int:
        return None
    return Place(file, width, height) if 0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE else None
