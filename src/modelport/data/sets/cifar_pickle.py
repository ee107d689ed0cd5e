"""Reads the pickles of CIFAR-10 without running them: only what those files hold is built, the rest is refused."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.pickle_scan import scan_pickles

# The published batches are 31 MB.
MAX_BYTES = 64 * 1024 * 1024
# A batch of 10,000 images takes some 60,000.
MAX_OPCODES = 1_000_000

_FIX = "take the files of cifar-10-python.tar.gz as published"
_OPCODES: Final = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2"),
        *("LONG", "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_DICT", "DICT", "SETITEM"),
        *("SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "GLOBAL", "STACK_GLOBAL", "REDUCE"),
        *("BUILD", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    }
)
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_DTYPE_STATE: Final = (3, "|", None, None, None, -1, -1, 0)


class _Refused(Exception):
    """Something that no CIFAR-10 file holds; the text says what."""


def load_cifar_pickle(content: bytes, name: str) -> dict[str, Any]:
    """Return the dictionary that ``content`` holds: keys as text, byte strings as they are, arrays uint8.

    Plain values are as unpickled. ``name`` tells the file in errors. Raises DataError for anything but a whole pickle
    of plain values and uint8 arrays; nothing that the pickle names is ever imported or called.
    """
    if len(content) > MAX_BYTES:
        raise DataError(f"{name}: {len(content)} bytes, too many for a batch of CIFAR-10", _FIX)
    try:
        _scan(content)
        value = _Reader(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(value, dict):
            raise _Refused("no dictionary")
        return {_text(key): item.to_numpy() if isinstance(item, _Array) else item for key, item in value.items()}
    except MemoryError as error:
        raise DataError(f"{name}: not enough memory to read it", "free memory") from error
    except _Refused as error:
        raise DataError(f"{name}: no file of CIFAR-10: {error}", _FIX) from error
    # A damaged pickle meets whatever the machine stumbled over: EOFError, IndexError, UnicodeDecodeError, TypeError...
    except Exception as error:
        raise DataError(f"{name}: a damaged pickle: {str(error) or type(error).__name__}", _FIX) from error


def _scan(content: bytes) -> None:
    """Raise _Refused for an opcode that these files need not; ValueError where the pickle is cut off."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content), start=1):
        if opcode.name not in _OPCODES:
            raise _Refused(f"the pickle uses {opcode.name}")
        # The unpickler makes room for every place up to a memo's number.
        if count > MAX_OPCODES or (opcode.name in _PUTS and not 0 <= int(argument or 0) <= MAX_OPCODES):
            raise _Refused("the pickle has too many parts")
    # Keys that are tuples or huge integers, and values nested without end, would be hashed or shown for ever.
    danger = scan_pickles(io.BytesIO(content)).danger
    if danger:
        raise _Refused(danger)


class _Reader(pickle.Unpickler):
    """An unpickler for which the few known names mean inert objects of its own."""

    def find_class(self, module: str, name: str) -> Any:
        found = _MAKERS.get(f"{module.replace('numpy._core', 'numpy.core', 1)}.{name}")
        if found is None:
            raise _Refused(f"it asks for {module[:80]}.{name[:80]}")
        # A new object each time: what a pickle does to it must not outlive the pickle.
        return found()


class _Inert:
    """No attribute can be set: a pickle may give any object a state."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a state for what has none")


class _ArrayType(_Inert):
    """Stands for ``numpy.ndarray``."""

    __slots__ = ()


class _Dtype(_Inert):
    """Stands for the dtype uint8, the only one there is."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or tuple(map(_plain, state)) != _DTYPE_STATE:
            raise _Refused("an array of something else than bytes")


class _MakeDtype(_Inert):
    """Stands for ``numpy.dtype``, as called."""

    __slots__ = ()

    def __call__(self, code: Any, *flags: Any) -> _Dtype:
        if _plain(code) != "u1" or len(flags) > 2 or not all(isinstance(flag, int) for flag in flags):
            raise _Refused(f"an array of dtype {_plain(code)!r:.40}, not u1")
        return _Dtype()


class _Array:
    """Stands for an array: records a shape and bytes, once, and makes the array when all is known to fit."""

    __slots__ = ("_content", "_fortran", "_shape")

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        if self._shape is not None or not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array with a strange state")
        version, shape, dtype, fortran, content = state
        sound = (
            version == 1
            and isinstance(dtype, _Dtype)
            and isinstance(fortran, int)
            and isinstance(content, bytes)
            and isinstance(shape, tuple)
            and 1 <= len(shape) <= 2
            and all(isinstance(side, int) and 0 <= side <= MAX_BYTES for side in shape)
        )
        if not sound:
            raise _Refused("an array with a strange state")
        size = shape[0] * (shape[1] if len(shape) == 2 else 1)
        if size != len(content):
            raise _Refused(f"an array of {len(content)} bytes that says it has {size}")
        self._shape, self._fortran, self._content = shape, bool(fortran), content

    def to_numpy(self) -> NDArray[np.uint8]:
        """Return the array, read-only."""
        if self._shape is None:
            raise _Refused("an array without content")
        flat = np.frombuffer(self._content, np.uint8)
        return flat.reshape(self._shape, order="F" if self._fortran else "C")


class _Reconstruct(_Inert):
    """Stands for NumPy's ``_reconstruct``: an array that awaits its state."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if not isinstance(kind, _ArrayType) or shape != (0,) or _plain(code) != "b":
            raise _Refused("an array made in a strange way")
        return _Array()


class _Encode(_Inert):
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes at protocol 2."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or _plain(encoding) not in ("latin1", "latin-1"):
            raise _Refused(f"text encoded as {_plain(encoding)!r:.40}")
        return text.encode("latin-1")


_MAKERS: Final[dict[str, type[_Inert]]] = {
    "numpy.core.multiarray._reconstruct": _Reconstruct,
    "numpy.ndarray": _ArrayType,
    "numpy.dtype": _MakeDtype,
    "_codecs.encode": _Encode,
}


def _plain(value: Any) -> Any:
    """Return Python 2's strings as text; anything else as it is."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _text(key: Any) -> str:
    if not isinstance(key, str | bytes):
        raise _Refused(f"a key that is no text: {key!r:.40}")
    return str(_plain(key))
