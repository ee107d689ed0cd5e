"""The folder that one run writes: held by it alone, without an old verdict, result and manifest written last."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelport.core.artifacts import digest_file, digest_json, prepare_output_folder, write_json, write_text, writing
from modelport.core.errors import DataError, OutputError
from modelport.core.files import read_json
from modelport.core.scratch import sweep

LOCK = ".modelport.lock"
MANIFEST = "manifest.json"
# The folder of a result's small pictures; the index in it names the others: {file: what it shows}.
THUMBNAILS, INDEX = "thumbnails", "index.json"
_NUMBERED = re.compile(r"[0-9]{4}\.jpg")


@contextlib.contextmanager
def held_folder(folder: Path, result: str, force: bool) -> Iterator[Path]:
    """Make ``folder``, hold it for this process alone, and sweep what dead runs have left in it.

    The lock goes with the process, however that ends. Raises OutputError where another run holds the folder, where it
    cannot be written, or holds a ``result`` and ``force`` is not given.
    """
    prepare_output_folder(folder, result, force)
    with _locked(folder, folder / LOCK):
        # Whoever held the folder until now may have left a result.
        prepare_output_folder(folder, result, force)
        sweep(folder)
        yield folder


@contextlib.contextmanager
def held_results(folder: Path, summary: Path) -> Iterator[None]:
    """Hold a folder of many files by a lock beside it, and remove the old ``summary`` that lies there, too.

    What dead runs have left in the folder is swept. Raises OutputError where another run holds it.
    """
    with _locked(folder, folder.parent / f".{folder.name}{LOCK}"):
        sweep(folder)
        with writing(summary):
            summary.unlink(missing_ok=True)
        yield


def drop_old_result(folder: Path, result: str, companions: Sequence[str]) -> None:
    """Remove an earlier run's ``result``, its manifest, ``companions`` and thumbnails, before anything new is written.

    A run that is killed then leaves no verdict beside files of another. Raises OutputError.
    """
    for name in (result, MANIFEST, *companions):
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)
    for path in thumbnails_in(folder):
        with writing(path):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of somebody else's lies in it, or it is not there
        (folder / THUMBNAILS).rmdir()


def thumbnails_in(folder: Path) -> list[Path]:
    """Return the small pictures that lie in a result's folder, as their index names them, and the index, the last.

    None of them where there is no index that a run has written: what others keep in a folder of that name is theirs.
    """
    place = folder / THUMBNAILS
    if place.is_symlink() or not (place / INDEX).is_file():
        return []
    try:
        index = read_json(place / INDEX)
    except DataError:
        return []
    names = [name for name in index if _NUMBERED.fullmatch(name)] if isinstance(index, dict) else []
    found = [place / name for name in names if (place / name).is_file()]
    return [*found, place / INDEX] if names else []


def write_result(folder: Path, name: str, result: Mapping[str, Any], companions: Sequence[str]) -> dict[str, str]:
    """Write the result after all that belongs to it, with the sha256 of those files, and return these.

    In the file they are the key ``companions`` {file name: sha256 in hexadecimal digits}.
    """
    digests = {file: digest_file(folder / file) for file in companions}
    write_json(folder / name, {**result, "companions": digests})
    return digests


def write_manifest(folder: Path, files: Iterable[str], beside: Iterable[Path] = ()) -> None:
    """Write manifest.json, the last file of a folder: the sha256 of each of ``files``, and of this list itself.

    Of the files ``beside``, which may lie anywhere, those in the folder are listed as well, ``/`` between the parts of
    their names.
    """
    base = folder.resolve()
    places = [path.resolve() for path in beside]
    names = {*files, *(place.relative_to(base).as_posix() for place in places if place.is_relative_to(base))}
    write_text(folder / MANIFEST, manifest_text({name: digest_file(folder / name) for name in sorted(names)}))


def manifest_text(digests: Mapping[str, str]) -> str:
    """Return the whole text of a manifest: JSON {file: sha256}.

    Under its own name it holds the sha256 of the other entries' canonical JSON.
    """
    own = {MANIFEST: digest_json(digests)}
    return json.dumps({**digests, **own}, indent=2, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def _locked(folder: Path, path: Path) -> Iterator[None]:
    try:
        handle = _lock(path)
    except BlockingIOError as error:
        raise OutputError(
            f"{folder}: another run is writing into it", "wait until that run has ended, or choose another --out"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be locked ({path.name}): {error.strerror or error}", "choose a folder on another disk"
        ) from error
    try:
        yield
    finally:
        # Still held: whoever has opened this file meanwhile finds that it is gone, and makes another.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def _lock(path: Path) -> int:
    """Return the handle of the held lock file at ``path``. Raises BlockingIOError where another process holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
