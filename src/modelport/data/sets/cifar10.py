"""CIFAR-10 as published: batches of 32 × 32 images in pickles, in a folder or still packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, Literal, overload

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.files import open_regular, read_regular
from modelport.core.text import plain
from modelport.core.values import Sample
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.cifar_pickle import MAX_BYTES, load_cifar_pickle
from modelport.data.sets.class_names import held_names
from modelport.data.sets.images import readable

FOLDERS = ("cifar-10-batches-py", "cifar-10-batch-py")
ARCHIVE = "cifar-10-python.tar.gz"
TEST, META = "test_batch", "batches.meta"
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
PIXELS = 3 * 32 * 32
# The published archive has nine members; a longer one is some other.
MAX_MEMBERS = 1000
# The published archive unpacks to 186 MB. A few megabytes of gzip can hide gigabytes of zeros, which a reader must
# unpack to pass over them.
MAX_UNPACKED = 512 * 1024**2

_LAYOUTS = f"give the folder that holds {FOLDERS[0]}/, that folder itself, {ARCHIVE}, or the file {TEST}"


@dataclass(frozen=True, slots=True, repr=False)
class Cifar10(Sequence[Sample]):
    """The samples of one split in the files' order; content is 3072 bytes, planes of red, green and blue."""

    images: NDArray[np.uint8]
    """(N, 3072)."""
    labels: NDArray[np.int64]
    """(N,), from 0."""
    batches: tuple[tuple[str, Path, int], ...]
    """Name, file and number of samples of each batch."""
    notes: tuple[str, ...] = ()
    """What a reader of a result must know about the set."""
    label_names: tuple[str, ...] = ()
    """What the labels mean, where the set says it."""
    categories: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = rest = range(len(self))[index]
        for name, file, count in self.batches:
            if rest < count:
                return Sample(f"{name}/{rest:05d}", int(self.labels[place]), file, self.images[place].tobytes())
            rest -= count
        raise IndexError(index)

    def __repr__(self) -> str:
        return f"Cifar10({len(self)} samples)"


class Cifar10Kind(DataKind):
    """The kind ``cifar10``: the published pickles."""

    forms = ("class",)

    def open(self, folder: Path, wanted: Wanted, split: Split) -> Cifar10:
        """Read the pickles of a split. Raises DataError, also where its labels are the recipe's in another order."""
        found = open_cifar10(folder, classes=wanted.known, split=split)
        notes = (*found.notes, *held_names(folder, found.label_names, wanted.names))
        return replace(found, notes=notes, categories=tuple(enumerate(found.label_names)))


def open_cifar10(place: Path, *, classes: int = 10, split: Literal["val", "train"] = "val") -> Cifar10:
    """Read the split that ``place`` holds or is: ``test_batch``, or those of ``data_batch_1`` … ``5`` that are there.

    ``classes`` is the number of labels there are: a label is 0 … ``classes - 1``. Nothing is unpacked to disk, and
    the pickles are not run. Raises DataError, naming the file, where the set is not as published.
    """
    with readable(place):
        source = _find(place, split)
        wanted = (TEST,) if split == "val" else TRAINING
        files = _contents(source, (*wanted, META))
    names = [name for name in wanted if name in files]
    if not names:
        raise DataError(f"{source} holds no {wanted[0]}", f"add the published file; {_LAYOUTS}")
    missing = [name for name in wanted if name not in files]
    notes = (f"{source}: no {', '.join(missing)}; the split is smaller than the published",) if missing else ()
    batches, images, labels = [], [], []
    for name in names:
        rows, targets = _batch(files.pop(name), _called(source, name), classes)
        batches.append((name, source / name if source.is_dir() else source, len(targets)))
        images.append(rows)
        labels.append(targets)
    return Cifar10(
        images[0] if len(images) == 1 else np.concatenate(images),
        np.concatenate(labels),
        tuple(batches),
        notes,
        _label_names(files[META], _called(source, META)) if META in files else (),
    )


def _contents(source: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of those files that are there, in a folder or an archive; of a batch by itself that one's."""
    if source.is_dir():
        return {name: _content(source / name) for name in names if (source / name).exists()}
    return {TEST: _content(source)} if source.name == TEST else _unpack(source, names)


def _called(source: Path, name: str) -> str:
    """Return how errors name a batch."""
    if source.is_dir():
        return str(source / name)
    return str(source) if source.name == TEST else f"{source}: {name}"


def _find(place: Path, split: str) -> Path:
    """Return the folder or archive that holds the batches, or the test batch. Raises DataError for another layout."""
    if place.is_file():
        if place.name.endswith((".tar.gz", ".tgz", ".tar")):
            return place
        if place.name != TEST or split != "val":
            other = "no archive and no test_batch" if split == "val" else "one file, not a set with a training split"
            raise DataError(f"{place} is {other}", _LAYOUTS)
        return place
    if not place.is_dir():
        raise DataError(f"{place} {'is no folder' if place.exists() else 'does not exist'}", _LAYOUTS)
    inside = [place / name for name in FOLDERS if (place / name).is_dir()]
    if len(inside) > 1:
        raise DataError(f"{place} holds both {FOLDERS[0]}/ and {FOLDERS[1]}/", "give the one of the two that you mean")
    if inside:
        return inside[0]
    if any((place / name).exists() for name in (TEST, *TRAINING)):
        return place
    if (place / ARCHIVE).is_file():
        return place / ARCHIVE
    raise DataError(f"{place} holds no {FOLDERS[0]}/ and no {ARCHIVE}", _LAYOUTS)


def _content(file: Path) -> bytes:
    return read_regular(file, MAX_BYTES, fix=_LAYOUTS)


class _Bounded:
    """Hands on what a stream unpacks, as far as a bound."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, place: Path) -> None:
        self.stream, self.place, self.left = stream, place, MAX_UNPACKED

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"{self.place}: unpacks to more than {MAX_UNPACKED} bytes", f"fetch {ARCHIVE} again")
        return content


def _unpack(archive: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the members of the one known folder by name, read in memory; links are refused, the rest passed over."""
    fix = f"fetch {ARCHIVE} again"
    files: dict[str, bytes] = {}
    try:
        with (
            open_regular(archive) as packed,
            _unpacked(packed) as flat,
            tarfile.open(
                fileobj=_Bounded(flat, archive),  # type: ignore[call-overload]
                mode="r|",
            ) as stream,
        ):
            for count, member in enumerate(stream):
                folder, _, name = member.name.removeprefix("./").rpartition("/")
                if count >= MAX_MEMBERS:
                    raise DataError(f"{archive} holds more than {MAX_MEMBERS} members", fix)
                # Only names are compared: nothing is written to where a member says.
                if name not in names or folder not in FOLDERS:
                    continue
                if not member.isreg() or member.issparse() or member.size > MAX_BYTES or name in files:
                    raise DataError(f"{archive}: {plain(member.name)} is a link, too large, or there twice", fix)
                opened = stream.extractfile(member)
                files[name] = b"" if opened is None else opened.read(MAX_BYTES)
                if len(files[name]) != member.size:
                    raise DataError(f"{archive}: {plain(member.name)} is cut off", fix)
                if len(files) == len(names):
                    break
    except MemoryError as error:
        raise DataError(f"{archive}: not enough memory to unpack it", "free memory") from error
    # A damaged archive meets what its reader stumbled over: gzip and tar have errors of their own.
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError) as error:
        raise DataError(f"{archive}: a damaged archive: {error}", fix) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"{archive}: a damaged archive: {error}", fix) from error
    return files


def _unpacked(packed: BinaryIO) -> IO[bytes] | gzip.GzipFile:
    """Return the tar stream inside a file, by its first bytes."""
    head = packed.read(6)
    packed.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    return lzma.LZMAFile(packed) if head.startswith(b"\xfd7zXZ") else packed


def _batch(content: bytes, file: str, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (n, 3072) and labels (n,) of one batch."""
    value = load_cifar_pickle(content, file)
    fix = "take the file as published: data uint8 (n, 3072), labels a list of n integers"
    for key in ("data", "labels"):
        if key not in value:
            raise DataError(f"{file}: has no '{key}' (it has {', '.join(sorted(value)) or 'nothing'})", fix)
    images, labels = value["data"], value["labels"]
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != PIXELS:
        found = "x".join(map(str, images.shape)) if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{file}: data is {found}, not rows of {PIXELS} bytes", fix)
    if not isinstance(labels, list) or len(labels) != len(images):
        found = str(len(labels)) if isinstance(labels, list) else f"{type(labels).__name__} as"
        raise DataError(f"{file}: {len(images)} images and {found} labels", fix)
    if not len(images):
        raise DataError(f"{file}: holds no images", fix)
    for row, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < classes:
            raise DataError(
                f"{file}: label {label!r:.20} of image {row} is not an integer from 0 to {classes - 1}", fix
            )
    return np.ascontiguousarray(images), np.array(labels, np.int64)


def _label_names(content: bytes, file: str) -> tuple[str, ...]:
    names = load_cifar_pickle(content, file).get("label_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"{file}: label_names is no list of names", "take the file as published, or remove it")
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
