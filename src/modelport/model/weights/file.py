"""The bytes of a weights file → the Python values in it, by safe loaders only."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from typing import Any

from modelport.core.errors import CheckpointError
from modelport.core.pickle_scan import Scan, scan_pickles
from modelport.core.text import listed, plain
from modelport.model.weights.torchscript import is_torchscript, torchscript_error

# The file formats of `torch.save`: a zip archive since torch 1.6, before that five pickles and the raw storages.
_ZIP = b"PK\x03\x04"
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 5

# torch writes an entry for each tensor; listing a million takes some seconds.
MAX_ENTRIES = 1_000_000
# What safetensors itself accepts; a hundred thousand tensors take ten million.
MAX_SAFETENSORS_HEADER = 100_000_000

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"7z\xbc\xaf": "7z", b"\xfd7zXZ": "xz", b"Rar!": "RAR"}
FETCH_AGAIN = "fetch the file again and compare its size and sha256 with the source's"
_TENSORS_ONLY = "take a file that holds tensors only, as torch.save(model.state_dict(), FILE) writes it"
_RESAVE = (
    "load it with the program that wrote it, on a machine you can spare if you do not trust the file, "
    "and save with torch.save(model.state_dict(), FILE)"
)


class _Ignored:
    """Stands in for what rides beside the weights: built from anything, it keeps nothing and runs nothing."""

    def __init__(self, *given: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def decode(content: bytes, name: str) -> Any:
    """Return what the weights file holds; ``argparse.Namespace`` and NumPy scalars become inert stand-ins.

    ``name`` stands for the file in errors. Raises CheckpointError, whatever the bytes are.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the loaders' advice concerns the file's author
            return _decode(content, name)
    except CheckpointError:
        raise
    except MemoryError as error:
        raise _no_memory(content, name) from error
    except ImportError as error:
        raise CheckpointError(
            f"{name}: reading weights needs {error.name or error}", "pip install 'modelport[torch]'"
        ) from error
    except Exception as error:
        # The loaders build tensors, sizes and dictionaries from whatever arguments the file gives them, so a
        # damaged file can raise any exception at all: KeyError and TypeError as well as RuntimeError.
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):  # torch's own allocator
            raise _no_memory(content, name) from error
        raise CheckpointError(f"{name}: damaged, cut short or no checkpoint ({_reason(error)})", FETCH_AGAIN) from error


def _decode(content: bytes, name: str) -> Any:
    _refuse_known_strangers(content, name)
    if content.startswith(_ZIP):
        return _decode_zip(content, name)
    if _is_safetensors(content):
        return _decode_safetensors(content, name)
    first = scan_pickles(io.BytesIO(content))
    if content.startswith(b"\x80") or first.complete:
        return _decode_pickles(content, name)
    if _is_text(content):
        raise CheckpointError(f"{name}: a text file, not a checkpoint", "check what was downloaded, and fetch it again")
    raise CheckpointError(
        f"{name}: neither a torch checkpoint (zip or pickle) nor safetensors, or its beginning is damaged", FETCH_AGAIN
    )


def _refuse_known_strangers(content: bytes, name: str) -> None:
    """Raise CheckpointError for what people take for a checkpoint, saying what it is."""
    head = content[:1024].lstrip().lower()
    if not content:
        raise CheckpointError(f"{name}: the file is empty", "fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{name}: a git-LFS pointer, not the weights themselves", "run `git lfs pull` there, or download the file"
        )
    if head.startswith((b"<!doctype html", b"<html")) or (head.startswith(b"<") and b"<html" in head):
        raise CheckpointError(f"{name}: an HTML page, a failed download?", "open the address in a browser and fetch it")
    if head.startswith(b"<?xml"):
        raise CheckpointError(f"{name}: an XML text, a failed download?", "read it: it says why; then fetch it again")
    if content[257:262] == b"ustar":
        raise CheckpointError(
            f"{name}: a tar archive; torch before 0.1.10 saved such files, and they cannot be read safely",
            f"unpack it if a checkpoint lies inside; otherwise {_RESAVE}",
        )
    for magic, kind in _PACKED.items():
        if content.startswith(magic):
            raise CheckpointError(f"{name}: packed with {kind}", "unpack it and give the file inside")


def _decode_zip(content: bytes, name: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if is_torchscript(names):
            raise torchscript_error(name)
        if any(entry.endswith("models/model.json") for entry in names):
            raise CheckpointError(
                f"{name}: a program of torch.export (.pt2), no checkpoint", "give it as --source FILE.pt2"
            )
        if not any(entry.endswith("/data.pkl") for entry in names):
            raise CheckpointError(
                f"{name}: a zip archive that torch.save did not write (no data.pkl)",
                "unpack it if a checkpoint lies inside, and give that file",
            )
        checked_archive(archive, content, name)
        scans = [scan_pickles(io.BytesIO(archive.read(entry))) for entry in names if entry.endswith(".pkl")]
    return _load(content, name, scans)


def checked_archive(archive: zipfile.ZipFile, content: bytes, name: str) -> None:
    """Raise CheckpointError for an archive that torch did not write so, or that is damaged."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    # torch.save writes neither; both would let a small file grow, or show the scan another pickle than torch reads.
    if len(set(names)) < len(names) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{name}: repacked, with compressed or doubled entries", _RESAVE)
    if len(entries) > MAX_ENTRIES:
        raise CheckpointError(f"{name}: {len(entries)} entries, more than the {MAX_ENTRIES} taken", _TENSORS_ONLY)
    # Entries that overlap would be read over and over, each as large as the file.
    if sum(entry.file_size for entry in entries) > len(content):
        raise CheckpointError(f"{name}: its entries overlap: they claim more than the whole file", FETCH_AGAIN)
    # torch does not verify the checksums by itself: a flipped bit would pass as a weight.
    damaged = archive.testzip()
    if damaged:
        raise CheckpointError(f"{name}: damaged: the checksum of {damaged} does not match", FETCH_AGAIN)


def _decode_pickles(content: bytes, name: str) -> Any:
    written_by_torch = _LEGACY_MAGIC in content[:32]
    scan = scan_pickles(io.BytesIO(content), _LEGACY_PICKLES if written_by_torch else 1)
    _refuse_code(name, [scan])
    if not written_by_torch and scan.complete:
        raise CheckpointError(f"{name}: a pickle that torch.save did not write", _RESAVE)
    _refuse_endless(name, [scan])
    return _load(content, name, [scan])


def _load(content: bytes, name: str, scans: list[Scan]) -> Any:
    import torch

    _refuse_code(name, scans)
    _refuse_endless(name, scans)
    protocol = max(scan.protocol for scan in scans)
    try:
        with torch.serialization.safe_globals([(_Ignored, ignored) for ignored in _ignored_names()]):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        if protocol > 2 and all(scan.complete for scan in scans):
            raise CheckpointError(
                f"{name}: written with pickle protocol {protocol}, which torch's safe loader does not read",
                "save it again with torch.save and its default protocol",
            ) from None
        raise


def _refuse_code(name: str, scans: list[Scan]) -> None:
    """Raise CheckpointError naming every global beyond the allowed ones; torch's loader refuses them once more."""
    from torch._weights_only_unpickler import _get_allowed_globals

    found = frozenset[str]().union(*(scan.names for scan in scans))
    refused = sorted(found - set(_get_allowed_globals()) - set(_ignored_names()))
    if refused:
        raise CheckpointError(
            f"{name}: refused, it would run code or build objects: {listed(refused, 50)}", _TENSORS_ONLY
        )


def _refuse_endless(name: str, scans: list[Scan]) -> None:
    """Raise CheckpointError where building the values might take for ever, or where their end was not seen."""
    for scan in scans:
        if scan.danger:
            raise CheckpointError(
                f"{name}: refused, reading it might never end or take all memory: {plain(scan.danger)}", _TENSORS_ONLY
            )
    if not all(scan.complete for scan in scans):
        raise CheckpointError(f"{name}: damaged or cut short: its list of values has no proper end", FETCH_AGAIN)


def _decode_safetensors(content: bytes, name: str) -> Any:
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError) as error:
        # A dtype that torch lacks is a KeyError of the dtype's name alone.
        header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
        kinds = sorted({str(entry.get("dtype")) for key, entry in header.items() if key != "__metadata__"})
        raise CheckpointError(
            f"{name}: no safetensors file that can be read ({plain(error, 200)}; its dtypes: "
            f"{plain(', '.join(kinds), 200)})",
            "check its header: known dtypes, offsets that follow each other and end with the file; or fetch it again",
        ) from error


def _no_memory(content: bytes, name: str) -> CheckpointError:
    return CheckpointError(
        f"{name}: not enough memory to load it ({len(content)} bytes, held about twice)",
        "free memory, or use a machine with more",
    )


def _ignored_names() -> list[str]:
    """Names allowed beyond torch's own, under both NumPy 1 and NumPy 2 names. All of them become ``_Ignored``.

    NumPy's own functions are not called: a forged dtype state reaches memory that is not its own.
    """
    import numpy.dtypes

    return [
        "argparse.Namespace",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        *(f"numpy.dtypes.{name}" for name in dir(numpy.dtypes) if name.endswith("DType")),
    ]


def _is_safetensors(content: bytes) -> bool:
    if len(content) < 10:
        return False
    (header,) = struct.unpack("<Q", content[:8])
    return content[8:9] == b"{" and header < MAX_SAFETENSORS_HEADER


def _is_text(content: bytes) -> bool:
    # An incremental decoder, since the cut may fall into a character.
    head = content[:4096]
    return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head) and bool(head.decode("utf-8", "ignore"))


def _reason(error: Exception) -> str:
    # torch's text advises weights_only=False; only its last part says what is wrong.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    if not text or "weights_only" in text:
        return type(error).__name__
    return f"{type(error).__name__}: {plain(text.splitlines()[0], 200)}"
