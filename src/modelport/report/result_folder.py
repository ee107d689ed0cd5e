"""The folder of a result: the names of its files, and how whatever lies under them is read.

Such a folder may come from anybody. Nothing outside it is read, no file beyond a stated size, and nothing in it is
executed; what is not as modelport writes it is one error that names the file and the line.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BufferedReader
from itertools import count, islice
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, UsageError, raised_as
from modelport.core.files import MAX_TEXT_BYTES, parse_json, regular
from modelport.core.output_folder import MANIFEST, manifest_text
from modelport.core.text import plain
from modelport.evaluate.sample_log import SAMPLES
from modelport.recipes.load import MAX_RECIPE_BYTES, parse_recipe
from modelport.recipes.schema import Recipe
from modelport.report.result import SCHEMA, Result

RESULT, PREDICTIONS, REPORT, RECIPE = "result.json", "predictions.jsonl", "report.md", "recipe.toml"
PAGE = "report.html"
COMPANIONS = (PREDICTIONS, SAMPLES, REPORT, RECIPE)
"""What lies beside every result; ``result.json`` holds the sha256 of each."""
BESIDE = (*COMPANIONS, PAGE)
"""What belongs to a result: the page is drawn from the others, last of all."""
WRITTEN = (RESULT, *BESIDE, MANIFEST)

# A million lines of a kilobyte: far beyond what any data set gives.
MAX_FILE_BYTES = 2 * 1024**3
# A line of a thousand outlines; a class and its score take thirty bytes.
MAX_LINE_BYTES = 16 * 1024**2
# Entries of a folder that are looked at, to tell those which no manifest names.
MAX_ENTRIES = 100_000
FIX = "run it anew, or take the folder from where it was made"


class ResultFolder:
    """A folder that ``run``, ``evaluate --out`` or ``judge(out=…)`` has left, for reading."""

    def __init__(self, path: Path, holding: Iterable[str] = (RESULT, MANIFEST)) -> None:
        """Raise UsageError where ``path`` is no folder, or holds none of the files that are named in ``holding``."""
        self.path = path
        try:
            with os.scandir(path) as entries:
                first = islice(entries, MAX_ENTRIES)
                self._entries = {entry.name: entry.is_dir(follow_symlinks=False) for entry in first}
        except (OSError, ValueError) as error:  # ValueError: a NUL inside the name
            told = getattr(error, "strerror", None) or error
            raise UsageError(f"{path}: {told}", "name the folder that `run --out` wrote") from error
        wanted = list(holding)
        if not self._entries.keys() & set(wanted):
            raise UsageError(f"{path} holds no result ({wanted[0]})", "name the folder that `run --out` wrote")

    def has(self, name: str) -> bool:
        """Whether there is anything of that name at the top of the folder."""
        return name in self._entries

    def unlisted(self, listed: Iterable[str]) -> list[str]:
        """Return the files in the folder that are not among ``listed``; folders of which no file is end in ``/``."""
        known = set(listed)
        tops = {name.partition("/")[0] for name in known if "/" in name}
        return sorted(
            f"{name}/" if is_folder else name
            for name, is_folder in self._entries.items()
            if name not in (tops if is_folder else known)
        )

    def open(self, name: str, limit: int = MAX_FILE_BYTES) -> BufferedReader:
        """Open a file inside, of ``limit`` bytes at most; ``/`` stands between the parts of its name.

        Raises DataError where it cannot be read, or would be read through a link or from outside the folder.
        """
        place = f"{self.path}/{plain(name, 200)}"
        *folders, file = name.split("/")
        if {"", ".", ".."} & {*folders, file}:
            raise DataError(f"{place}: is no name inside the folder", FIX)
        with raised_as(DataError, place, FIX, (OSError, ValueError)):  # ValueError: a NUL inside the name
            handle = _opened(self.path, folders, file)
        return regular(handle, place, limit, fix=FIX)

    def content(self, name: str, limit: int = MAX_TEXT_BYTES) -> bytes:
        """Return a file inside whole. Raises DataError, also where it has more than ``limit`` bytes."""
        with self.open(name, limit) as stream, raised_as(DataError, f"{self.path / name}", FIX, OSError):
            return stream.read(limit)

    def digest(self, name: str) -> str:
        """Return the sha256 of a file inside, as 64 hexadecimal digits. Raises DataError."""
        with self.open(name) as stream, raised_as(DataError, f"{self.path}/{plain(name, 200)}", FIX, OSError):
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def manifest(self) -> Mapping[str, str]:
        """Return manifest.json: {file: sha256}, its own among them.

        Raises DataError where it is missing, or is not to the byte what modelport writes for these digests.
        """
        place = f"{self.path / MANIFEST}"
        if MANIFEST not in self._entries:
            raise DataError(f"{place}: is missing: the run was stopped, or an older modelport made it", FIX)
        content = self.content(MANIFEST)
        value = parse_json(content, place, fix=FIX)
        if not isinstance(value, dict) or not all(isinstance(digest, str) for digest in value.values()):
            raise DataError(f"{place}: is no list of files with their sha256", FIX)
        others = {name: digest for name, digest in value.items() if name != MANIFEST}
        with raised_as(DataError, place, FIX, UnicodeEncodeError):
            if manifest_text(others).encode() != content:
                raise DataError(f"{place}: was changed: its digest of itself does not fit", FIX)
        return value

    def value(self) -> dict[str, Any]:
        """Return what result.json holds. Raises DataError for another schema, too."""
        place = f"{self.path / RESULT}"
        value = parse_json(self.content(RESULT), place, fix=FIX)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise DataError(f"{place}: is of another schema than {SCHEMA}", FIX)
        return value

    def result(self) -> Result:
        """Return the result. Raises DataError where a key is missing or of another form."""
        with raised_as(DataError, f"{self.path / RESULT}: is not as modelport writes it", FIX, MALFORMED):
            return Result.from_json(self.value())

    def recipe(self) -> Recipe:
        """Return the recipe as it ran. Raises DataError or RecipeError."""
        place, content = f"{self.path / RECIPE}", self.content(RECIPE, MAX_RECIPE_BYTES)
        with raised_as(DataError, place, FIX, UnicodeDecodeError):
            return parse_recipe(content.decode(), place)

    def lines(self, name: str, only: Collection[int] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the values of predictions.jsonl or samples.jsonl, one a line. Raises DataError, naming the line.

        ``only``: the numbers of the lines that are wanted, from 1; the others are passed over, whatever they hold.
        """
        last = None if only is None else max(only, default=0)
        with self.open(name) as stream:
            for number in count(1):
                if last is not None and number > last:
                    return
                place = f"{self.path / name} line {number}"
                with raised_as(DataError, place, FIX, OSError):
                    text = stream.readline(MAX_LINE_BYTES + 1)
                if not text:
                    return
                if len(text) > MAX_LINE_BYTES:
                    raise DataError(f"{place}: more than the {MAX_LINE_BYTES} bytes that a line may have", FIX)
                if only is not None and number not in only:
                    continue
                value = parse_json(text, place, fix=FIX)
                if not isinstance(value, dict):
                    raise DataError(f"{place}: is no JSON object", FIX)
                yield value


MALFORMED = (LookupError, TypeError, ValueError, AttributeError)


def _opened(root: Path, folders: Iterable[str], file: str) -> int:
    """Open ``file`` in ``folders`` of ``root``, none of which may be a link, nor may it. Raises OSError."""
    inside = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    here = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for folder in folders:
            above, here = here, os.open(folder, inside | os.O_DIRECTORY, dir_fd=here)
            os.close(above)
        # Opening a pipe that nobody writes to would wait for ever.
        return os.open(file, inside | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)
