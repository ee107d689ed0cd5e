"""Names the globals of a pickle without running it, so that a refusal can say what was found."""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

# A checkpoint with its optimizer state takes some ten thousand; beyond this torch's loader decides alone.
MAX_OPCODES = 2_000_000

_PUT: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MARK: Final = object()


@dataclass(frozen=True, slots=True)
class Scan:
    """What a run of pickles asks to import, as ``module.name``."""

    names: frozenset[str]
    protocol: int  # the highest that is announced
    complete: bool  # every pickle was read to its end


def scan_pickles(stream: BinaryIO, count: int = 1) -> Scan:
    """Scan ``count`` pickles that follow each other in ``stream``. Nothing is imported, built or called.

    A malformed pickle is no error: what was seen up to there is returned, with ``complete`` false.
    """
    machine = _Machine()
    try:
        for _ in range(count):
            machine.run(stream)
    except ValueError:
        # pickletools raises ValueError for every kind of malformed input.
        return Scan(frozenset(machine.names), machine.protocol, complete=False)
    return Scan(frozenset(machine.names), machine.protocol, complete=True)


class _Machine:
    """A pickle machine that knows strings and forgets all other values: STACK_GLOBAL takes its names off the stack."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.protocol = 0
        self.opcodes = 0

    def run(self, stream: BinaryIO) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(stream):
            self.opcodes += 1
            if self.opcodes > MAX_OPCODES:
                raise ValueError("too many opcodes")
            self._step(opcode, argument)

    def _step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        top = self.stack[-1] if self.stack else None
        name = opcode.name
        if name in _PUT:
            self.memo[int(argument)] = top
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = top
        elif name in _GET:
            self.stack.append(self.memo.get(int(argument)))
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "DUP":
            self.stack.append(top)
        else:
            if name == "PROTO":
                self.protocol = max(self.protocol, argument)
            self._note_global(name, argument)
            self._pop(opcode)
            value = argument if "UNICODE" in name or "STRING" in name else None
            self.stack.extend(value for _ in opcode.stack_after)

    def _note_global(self, name: str, argument: Any) -> None:
        if name in ("GLOBAL", "INST"):
            module, _, attribute = argument.partition(" ")
            # Python 2 names (`__builtin__`), which torch's loader translates in the same way.
            module, attribute = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
            self.names.add(f"{module}.{attribute}")
        elif name == "STACK_GLOBAL":
            parts = ["?", "?", *self.stack[-2:]][-2:]
            self.names.add(".".join(part if isinstance(part, str) else "?" for part in parts))
        elif name.startswith("EXT"):
            self.names.add(f"copyreg extension {argument}")

    def _pop(self, opcode: pickletools.OpcodeInfo) -> None:
        before = opcode.stack_before
        count = len(before)
        if pickletools.markobject in before:
            while self.stack and self.stack.pop() is not _MARK:
                pass
            count = before.index(pickletools.markobject)
        del self.stack[max(0, len(self.stack) - count) :]
