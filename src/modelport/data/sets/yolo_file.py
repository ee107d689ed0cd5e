"""The files of a set in Ultralytics' layout: ``data.yaml``, and a text of boxes for each image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError, raised_as
from modelport.core.files import read_regular_text
from modelport.core.text import lines_of, plain
from modelport.data.sets.boxed import repeated

MAX_YAML_BYTES = 256 * 1024
# A line of a polygon may have hundreds of points, a crowded image hundreds of lines.
MAX_TEXT_BYTES = 4 * 1024 * 1024
# Shares that were rounded when they were written.
ROUNDING = 1e-3
_LINES = "write `class x y width height` a line: the box's middle and sides in shares of the image, 0 to 1"
_NAMES = "write names: a list, or a table of numbers from 0 and names"


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What ``data.yaml`` tells; every value in it is a text, a list or a table of these."""

    file: Path | None = None
    names: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keypoints(self) -> bool:
        """Whether lines go on with keypoints after the box."""
        return "kpt_shape" in self.content


def read_data_yaml(file: Path) -> DataYaml:
    """Read ``data.yaml``, whose scalars are all taken as texts. Raises DataError, naming the file."""
    with raised_as(
        DataError, f"{file}: PyYAML is needed to read it", "pip install 'modelport[detection]'", ImportError
    ):
        import yaml
    text = read_regular_text(file, MAX_YAML_BYTES, DataError, _NAMES)
    try:
        # No object is built but texts, lists and tables; `no` and `on` stay names of classes.
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" line {mark.line + 1}"
        raise DataError(f"{file}{line}: no valid YAML: {plain(getattr(error, 'problem', ''), 100)}", _NAMES) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{file}: no valid YAML: {plain(error, 100)}", _NAMES) from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: is no table of keys", _NAMES)
    names = tuple(_names(file, content.get("names", [])))
    if (told := content.get("nc")) is not None and names and told != str(len(names)):
        raise DataError(f"{file}: nc is {plain(told, 40)}, and there are {len(names)} names", "give each class a name")
    return DataYaml(file, names, content)


def _names(file: Path, listed: Any) -> list[str]:
    if isinstance(listed, dict):
        numbers = [int(key) if re.fullmatch("[0-9]{1,7}", str(key)) else -1 for key in listed]
        if sorted(numbers) != list(range(len(numbers))):
            raise DataError(f"{file}: names are not numbered from 0 to {len(numbers) - 1}, each once", _NAMES)
        listed = [name for _, name in sorted(zip(numbers, listed.values(), strict=True), key=lambda pair: pair[0])]
    if not isinstance(listed, list) or not all(isinstance(name, str) and plain(name).strip() for name in listed):
        raise DataError(f"{file}: names is no list of names", _NAMES)
    names = [plain(name, 200) for name in listed]
    if twice := repeated(names):
        raise DataError(f"{file}: two classes are named {twice[0]}", "tell them apart")
    return names


@dataclass(frozen=True, slots=True)
class Line:
    """One object: its class, and the box x, y (its middle), width, height in shares of the image."""

    kind: int
    box: tuple[float, float, float, float]
    polygon: bool


def read_lines(file: Path, classes: int, keypoints: bool) -> tuple[list[Line], int]:
    """Return the objects of an image, and how many lines were repeated and counted once, as Ultralytics does.

    Raises DataError, naming file and line.
    """
    lines = list(_lines(file, classes, keypoints))
    unique = list(dict.fromkeys(lines))
    return unique, len(lines) - len(unique)


def _lines(file: Path, classes: int, keypoints: bool) -> Iterator[Line]:
    text = read_regular_text(file, MAX_TEXT_BYTES, DataError, _LINES, "utf-8-sig")
    for number, line in enumerate(lines_of(text), start=1):
        fields = line.split()
        if not fields:
            continue
        place = f"{file} line {number}"
        if not re.fullmatch(r"[0-9]{1,9}(\.0*)?", fields[0]) or int(fields[0].partition(".")[0]) >= classes:
            raise DataError(
                f"{place}: class {plain(fields[0], 20)} is not an integer from 0 to {classes - 1}",
                "count the classes from 0, as data.yaml names them",
            )
        numbers = _shares(place, fields[1:])
        kind, count = int(fields[0].partition(".")[0]), len(numbers)
        if count == 4 or (keypoints and count > 4):
            yield Line(kind, (numbers[0], numbers[1], numbers[2], numbers[3]), polygon=False)
        elif count >= 6 and count % 2 == 0:
            yield Line(kind, _box_of(np.array(numbers).reshape(-1, 2)), polygon=True)
        else:
            raise DataError(
                f"{place}: {len(fields)} fields in {plain(line, 80)!r}, neither a box (5) nor a polygon (7, 9, …)",
                _LINES,
            )


def _shares(place: str, fields: list[str]) -> list[float]:
    numbers = []
    for text in fields:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not -ROUNDING <= value <= 1 + ROUNDING:
            raise DataError(
                f"{place}: {plain(text, 20)} is no share of the image, from 0 to 1",
                "divide pixels by the image's width and height",
            )
        numbers.append(value)
    return numbers


def _box_of(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
