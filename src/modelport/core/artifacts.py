"""Files with a pedigree: digests, writing aside, the cache and its records."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, ModelportError, OutputError, raised_as
from modelport.core.files import kind_of, read_json
from modelport.core.scratch import CACHE_DEPTH, scratch_folder, sweep_once

# Where a record of the cache tells its own sha256: one that does not verify is as good as none.
OWN_DIGEST = "record_sha256"
# A disk with less than this is full: whatever could not be written failed for that.
FULL_DISK = 1024 * 1024
WRITE_ELSEWHERE = "free space or choose another place"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file, its sha256 and the digests of what it was made from: the chain is the proof.

    ``parts`` are files that belong to this one (the weights beside a graph file). ``stands_for`` is the user's file
    that this one, in the cache, was made from.
    """

    path: Path
    kind: str
    sha256: str
    made_from: tuple[str, ...] = ()
    parts: tuple[Artifact, ...] = ()
    stands_for: Path | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """The sha256 of the file and of each of its parts."""
        return self.sha256, *(digest for part in self.parts for digest in part.digests)

    @property
    def identity(self) -> str:
        """One digest of the file with all its parts, under which what is made of it is kept."""
        return digest_json(self.digests) if self.parts else self.sha256

    @property
    def shown(self) -> Path:
        """What messages call it: the user's file where there is one."""
        return self.stands_for or self.path

    @staticmethod
    def of(path: Path, kind: str, made_from: tuple[str, ...] = (), parts: tuple[Artifact, ...] = ()) -> Artifact:
        """Digest the file that lies at ``path``."""
        return Artifact(path, kind, digest_file(path), made_from, parts)

    def to_json(self) -> list[dict[str, Any]]:
        """Return this artifact and its parts as the result file lists them."""
        own = {"kind": self.kind, "path": str(self.path), "sha256": self.sha256, "made_from": list(self.made_from)}
        return [own, *(row for part in self.parts for row in part.to_json())]


@contextlib.contextmanager
def named_as_given(artifact: Artifact) -> Iterator[None]:
    """Let errors raised inside name the user's file, where it is one in the cache that stands for it."""
    try:
        yield
    except ModelportError as error:
        if artifact.stands_for is None:
            raise
        words = (word.replace(str(artifact.path), str(artifact.stands_for)) for word in (error.found, error.fix))
        raise type(error)(*words) from error


def digest_file(path: Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits. Raises OSError, also for a pipe, instead of waiting."""
    if not path.is_file() and path.exists():
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_bytes(content: bytes) -> str:
    """Return the sha256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: Any) -> str:
    """Return the sha256 of a JSON value in its canonical form (sorted keys, no spaces)."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to, and move it into place once the block succeeded.

    Whatever happens inside the block, ``path`` is either what it was or complete. Files that the block leaves beside
    the yielded path move with it, the main one last: between the two moves there is none, so that a graph never lies
    beside weights that are not its own. The yielded path keeps the suffix, since libraries choose a format by it.

    Raises OutputError where the folder cannot be written, and where a pipe, a device or a folder lies at ``path``: a
    file would take its place.
    """
    hold_target(path)
    with contextlib.ExitStack() as stack:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = stack.enter_context(scratch_folder(path.parent, path.name))
        with _moved_into_place(aside, path):
            yield aside / path.name


def hold_target(path: Path) -> None:
    """Raise OutputError where something that is no file lies at a path that is to be written."""
    with contextlib.suppress(OSError, ValueError):  # nothing there; or whoever writes is told why it cannot
        if kind := kind_of(path.stat().st_mode):
            raise OutputError(f"{path} is {kind}, not a file", "choose another place")


@contextlib.contextmanager
def _moved_into_place(aside: Path, path: Path) -> Iterator[None]:
    try:
        yield
        # A graph may come with a file of weights beside it; the main file moves last.
        files = sorted(aside.iterdir(), key=lambda file: file.name == path.name)
        for file in files:
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        if len(files) > 1:
            # A run that is killed between the moves must not leave the old graph beside the new weights.
            path.unlink(missing_ok=True)
        for file in files:
            file.replace(path.parent / file.name)
    except OSError as error:
        raise cannot_write(path, error) from error
    except OutputError as error:
        # What was written aside inside this block is named by where it was to go.
        raise OutputError(error.found.replace(str(aside / path.name), str(path)), error.fix) from error
    except RuntimeError as error:
        # Libraries that write by themselves do not say why they could not.
        if shutil.disk_usage(aside).free < FULL_DISK:
            raise cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error
        raise


def write_artifact(path: Path, kind: str, content: bytes, made_from: tuple[str, ...] = ()) -> Artifact:
    """Write a file aside, move it into place, and return it. Raises OutputError."""
    with written_aside(path) as aside:
        aside.write_bytes(content)
    return Artifact(path, kind, digest_bytes(content), made_from)


def write_text(path: Path, text: str) -> None:
    """Write a text file aside and move it into place. Lone surrogates of names that are no UTF-8 become escapes."""
    with written_aside(path) as aside:
        # In JSON these are JSON's own escapes.
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file aside and move it into place. NaN is refused: it is no JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def prepare_output_folder(folder: Path, holds: str, force: bool) -> None:
    """Make ``folder`` and see that it can be written, and that it holds no file ``holds`` unless ``force``.

    Raises OutputError; nothing is left behind where it does.
    """
    if (folder / holds).exists() and not force:
        raise OutputError(
            f"{folder} already holds a result ({holds})", "choose another --out, or replace it with --force"
        )
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder", "choose another --out")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
    """Turn what the disk says inside into the OutputError for ``path``."""
    return raised_as(OutputError, f"{path} cannot be written", WRITE_ELSEWHERE, OSError)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error for a path that cannot be written."""
    return OutputError(f"{path} cannot be written: {error.strerror or error}", WRITE_ELSEWHERE)


def cache_folder(*parts: str) -> Path:
    """Return a folder of the cache: ``$MODELPORT_CACHE``, else ``modelport`` in the user's cache folder.

    The first call of a process frees the cache of what killed runs left there.
    """
    own = os.environ.get("MODELPORT_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelport"
    folder = base.joinpath(*parts)
    sweep_once(base, CACHE_DEPTH)
    with raised_as(OutputError, f"the cache {folder} cannot be made", "set MODELPORT_CACHE", OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_record(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` aside and move it into place, with its sha256 under ``record_sha256``. Raises OutputError."""
    write_json(path, value | {OWN_DIGEST: digest_json(value)})


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what ``write_record`` wrote there, None where it is missing, unreadable or not as it was written."""
    try:
        value = read_json(path)
    except DataError:
        return None
    if not isinstance(value, dict):
        return None
    told = value.pop(OWN_DIGEST, None)
    try:
        return value if told == digest_json(value) else None
    except (ValueError, RecursionError):  # a lone surrogate is no UTF-8
        return None
